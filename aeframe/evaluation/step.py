"""Evaluation of one held-out batch: its loss terms, and the forward outputs that metrics are computed from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aeframe.batch_noise import BatchNoise, batch_of_all_devices
from aeframe.evaluation.reconstruction import decode_posterior
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import EVALUATION, noise_of
from aeframe.types import Batch, ForwardOutput, Latent, TrainingProgress


@dataclass(slots=True)
class EvaluationOutput:
    """Loss terms and forward outputs of one held-out batch, without gradients."""

    model: Autoencoder
    batch: Batch
    sampled: ForwardOutput
    """Forward output with z sampled from the posterior if the latent has one, with as many importance samples as the
    objective uses.
    """
    terms: dict[str, Tensor]
    """``(B,)`` each: unweighted loss terms, ``loss`` (their weighted sum) and ``bound``. Loss terms of a critic are
    prefixed with its label.
    """
    noise: tuple[int, int]
    """Seed of the evaluation and index of the batch, which determine all random draws."""
    _at_mean: ForwardOutput | None = None

    def own_terms(self) -> dict[str, Tensor]:
        """Return `terms` without samples that this device repeats from another; ``(0,)`` where it repeats all."""
        return {name: value[:0] for name, value in self.terms.items()} if self.is_repeated else self.terms

    @property
    def is_repeated(self) -> bool:
        """Whether another device evaluates these samples, so that metrics leave them out (see `LocalRows`)."""
        return self.batch.local_rows is not None and self.batch.local_rows.are_repeated

    @torch.no_grad()
    def at_mean(self) -> ForwardOutput:
        """Return the forward output with z at the posterior mean, computed at the first call.

        Its reconstruction is that of `decode_posterior`: hardly used units are drawn.
        """
        if self._at_mean is None:
            has_posterior = "posterior" in self.model.latent.provides
            if not has_posterior and self.model.objective.num_samples is None:
                # z is deterministic, so the forward output is the same.
                self._at_mean = self.sampled
            else:
                # With the same noise the corruption is the same, so the features of the encoder can be reused.
                rows = self.batch.local_rows
                with (
                    evaluation_mode(self.model),
                    noise_of(self.batch.x.device, self.noise[0], EVALUATION, self.noise[1]),
                    # Statistics of the batch are not shared: other devices may not compute this.
                    nullcontext() if rows is None else BatchNoise(rows),
                ):
                    features = self.sampled.features
                    self._at_mean = self.model(self.batch, sample=False, features=features, decode=self._decode)
        return self._at_mean

    def _decode(self, latent: Latent, batch: Batch) -> Tensor:
        return decode_posterior(self.model, latent, batch, lambda z: self.model.decode(z, batch), seed=self.noise[0])


@torch.no_grad()
def evaluate_batch(
    model: Autoencoder, batch: Batch, progress: TrainingProgress, *, seed: int, index: int
) -> EvaluationOutput:
    """Return loss terms and forward output of a held-out batch, without synchronising with the device.

    The terms are expectations over the posterior, so z is sampled if the latent has one. The samples are a function of
    `seed` and `index`; the state of the default generator is restored.

    Args:
        model: In training or evaluation mode; the mode is restored.
        batch: Clean samples, on the model's device.
        progress: Training progress, which determines the weights in ``loss``.
        seed: Seed of the random draws.
        index: Index of the batch in the evaluation.
    """
    sample = "posterior" in model.latent.provides
    with (
        evaluation_mode(model),
        noise_of(batch.x.device, seed, EVALUATION, index),
        batch_of_all_devices(batch.local_rows, num_samples=model.objective.num_samples),
    ):
        out: ForwardOutput = model(batch, sample=sample, num_samples=model.objective.num_samples)
        terms = _all_terms(model, out, progress)
    return EvaluationOutput(model, batch, out, terms, (seed, index))


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Context in which a model is in evaluation mode; the mode of each of its modules is restored at the end."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _all_terms(model: Autoencoder, out: ForwardOutput, progress: TrainingProgress) -> dict[str, Tensor]:
    """Return `EvaluationOutput.terms`."""
    model_terms = model.terms(out, progress)
    terms = {**model_terms.raw, "loss": model_terms.total()}
    if model_terms.bound is not None:
        terms["bound"] = model_terms.bound
    for label, critic_terms in model.critic_terms(out, progress).items():
        terms |= {f"{label}/{name}": value for name, value in critic_terms.raw.items()}
        terms[f"{label}/loss"] = critic_terms.total()
    return terms
