"""What every objective is, and what a second player is."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.devices import gather_rows_with_gradient
from aeframe.errors import AeframeError
from aeframe.parts.schedules import Schedule
from aeframe.tensors import at_least_float32
from aeframe.types import Batch, ForwardOutput, Latent, LossTerms, Model, TrainingProgress


class Objective(nn.Module):
    """How the terms become the number that is minimised.

    `requires` is what the latent must give (see `LatentSpace.provides`); `num_samples` asks for K importance samples.
    """

    requires: ClassVar[frozenset[str]] = frozenset()
    num_samples: int | None = None
    batch_terms: ClassVar[frozenset[str]] = frozenset()
    """Terms that compare the samples of a batch with each other, so that they are no sample's own."""

    def log_joint(self, model: Model, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return the function that maps z ``(B, *z_shape)`` to log p(x, z) ``(B,)`` in nats.

        A latent that refines its posterior follows the gradient of this function.
        """

        def log_probability(z: Tensor) -> Tensor:
            return model.prior.log_prob(z) - model.loss(model.decode(z, batch), batch)

        return log_probability

    def combine_posteriors(self, model: Model, latent: Latent, batch: Batch, *, sample: bool) -> Latent:
        """Return the code that is decoded: by default `latent` itself, else one made of several samples' posteriors."""
        return latent

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return the terms of one pass: each ``(B,)``, with a bound."""
        raise NotImplementedError


class Critic(nn.Module):
    """A part with a player of its own: its parameters are trained by its own terms, and by nothing else.

    Any part may hold one (an objective its discriminator of z, a penalty its discriminator of x). The player is
    named after the attribute that holds it.
    """

    batch_terms: ClassVar[frozenset[str]] = frozenset()
    """Terms that compare the samples of a batch with each other, so that they are no sample's own."""
    start: int = 0
    """The training batch from which on it is trained. Before it, the terms that it judges have weight 0."""

    def weight_from_start(self, weight: Schedule, progress: TrainingProgress) -> float:
        """Return the weight of a term that this opponent judges: 0 before its start."""
        return weight(progress) if progress.batch >= self.start else 0.0

    def terms(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return what this player minimises. `p` is cut from the graph: nothing flows back to the autoencoder."""
        raise NotImplementedError


def reconstruction_terms(model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
    """Begin the terms every objective has: the reconstruction, and whatever the latent adds (commitment, ...)."""
    terms = LossTerms(bound=out.reconstruction).add("reconstruction", out.reconstruction)
    for name, value in out.latent.terms.items():
        schedule = model.latent.weights.get(name)
        terms.add(name, value, 1.0 if schedule is None else schedule(progress))
    return terms


def is_needed(model: Model, weight: float) -> bool:
    """Say whether a term of this weight is computed: always in evaluation, where it is logged, else unless it is 0."""
    return weight != 0 or not model.training


def normal_posterior(name: str, latent: Latent) -> Normal:
    """Return q(z|x) for an objective that takes it apart by dimension, which a normal one allows."""
    if not isinstance(latent.posterior, Normal):
        raise AeframeError(
            f"objective '{name}' takes a normal posterior apart by dimension, but this latent's is "
            f"{type(latent.posterior).__name__}; choose latent=gaussian"
        )
    return latent.posterior


def rows_compared(model: Model, value: Tensor) -> tuple[Tensor, slice]:
    """Return the flat rows ``(B, D)`` of z, or of something like it, to compare samples by, and which are one's own.

    In training they are those of all devices together, lest their number change what is minimised. In evaluation
    devices may have shares of different sizes, so each compares its own.
    """
    rows = at_least_float32(value).flatten(1)
    return gather_rows_with_gradient(rows) if model.training else (rows, slice(len(rows)))
