"""One held-out batch: its terms, and the outputs that metrics look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import EVALUATION, noise_of
from aeframe.types import Batch, ForwardOutput, TrainingProgress


@dataclass(slots=True)
class EvaluationOutput:
    """What a model makes of one held-out batch, without gradients."""

    model: Autoencoder
    batch: Batch
    drawn: ForwardOutput
    """With z drawn from its posterior where there is one, and as many importance samples as the objective takes."""
    values: dict[str, Tensor]
    """``(B,)`` each: the raw terms, ``loss`` (their weighted sum) and ``bound``; those of a critic follow its label."""
    noise: tuple[int, int]
    """Seed and number of the batch."""
    _by_mean: ForwardOutput | None = None

    @torch.no_grad()
    def by_mean(self) -> ForwardOutput:
        """Return the output with z at its mean, which reconstruction metrics look at; computed at the first call."""
        if self._by_mean is None:
            posterior = "posterior" in self.model.latent.provides
            if not posterior and self.model.objective.num_samples is None:
                self._by_mean = self.drawn
            else:
                # The same noise again, so that a corruption of held-out samples is the same one, and so the features.
                with (
                    evaluation_mode(self.model),
                    noise_of(self.batch.x.device, self.noise[0], EVALUATION, self.noise[1]),
                ):
                    self._by_mean = self.model(self.batch, sample=False, features=self.drawn.features)
        return self._by_mean


@torch.no_grad()
def evaluate_batch(
    model: Autoencoder, batch: Batch, progress: TrainingProgress, *, seed: int, index: int
) -> EvaluationOutput:
    """Return the terms of a held-out batch; nothing in it waits for the device.

    Where the latent has a posterior, z is drawn for the terms and the bound, which are expectations over it. The
    draws are a function of `seed` and `index`, and the default generator is left as it was.

    Args:
        model: In any mode, which it keeps.
        batch: Clean samples, on the model's device.
        progress: The progress whose weights count in ``loss``.
        seed: Where the draws come from.
        index: The number of this batch in the evaluation.
    """
    draw = "posterior" in model.latent.provides
    with evaluation_mode(model), noise_of(batch.x.device, seed, EVALUATION, index):
        drawn: ForwardOutput = model(batch, sample=draw, num_samples=model.objective.num_samples)
        values = _values(model, drawn, progress)
    return EvaluationOutput(model, batch, drawn, values, (seed, index))


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode inside, and give each of its modules its own mode back."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _values(model: Autoencoder, output: ForwardOutput, progress: TrainingProgress) -> dict[str, Tensor]:
    terms = model.terms(output, progress)
    values = {**terms.raw, "loss": terms.total()}
    if terms.bound is not None:
        values["bound"] = terms.bound
    for label, of_critic in model.critic_terms(output, progress).items():
        values |= {f"{label}/{name}": value for name, value in {**of_critic.raw, "loss": of_critic.total()}.items()}
    return values
