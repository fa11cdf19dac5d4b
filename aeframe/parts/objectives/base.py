"""The base class of objectives, and what several objectives compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.devices import gather_rows_with_gradient
from aeframe.errors import AeframeError
from aeframe.tensors import at_least_float32
from aeframe.types import Batch, ForwardOutput, Latent, LossTerms, Model, TrainingProgress


class Objective(nn.Module):
    """Computes the loss terms; the autoencoder minimises their weighted sum."""

    requires: ClassVar[frozenset[str]] = frozenset()
    """Properties that the latent must provide, such as ``posterior`` (see `LatentSpace.provides`)."""
    num_samples: int | None = None
    """Number K of importance samples of z for each x; None where they are not used."""
    batch_terms: ClassVar[frozenset[str]] = frozenset()
    """Names of loss terms that compare the samples of a batch, so that a sample's value depends on the others."""
    bounds_likelihood: bool = False
    """Whether `LossTerms.bound` is a bound on -log p(x), so that importance samples of z make it tighter."""
    used_critics: Mapping[str, tuple[str, ...]] = {}
    """Names of the methods that the terms call of each critic, by the critic's label in the config section
    ``critics:``."""

    def log_joint(self, model: Model, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return the function that maps z ``(B, *z_shape)`` to log p(x, z) ``(B,)`` in nats.

        `LatentSpace.refine_posterior` receives it: a latent may move samples along its gradient.
        """

        def log_probability(z: Tensor) -> Tensor:
            return model.prior.log_prob(z) - model.loss(model.decode(z, batch), batch)

        return log_probability

    def combine_posteriors(self, model: Model, latent: Latent, batch: Batch, *, sample: bool) -> Latent:
        """Return the latent to decode: `latent` by default, or one that combines the posteriors of several samples.

        With `sample`, z is drawn from the posterior; otherwise it is the mean.
        """
        return latent

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return the loss terms, ``(B,)`` each, with `LossTerms.bound`, the value that checkpoints are selected by."""
        raise NotImplementedError


def reconstruction_terms(model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
    """Return the loss terms of every objective: the reconstruction, and those of the latent (commitment, ...)."""
    terms = LossTerms(bound=out.reconstruction).add("reconstruction", out.reconstruction)
    for name, value in out.latent.terms.items():
        schedule = model.latent.weights.get(name)
        terms.add(name, value, 1.0 if schedule is None else schedule(progress))
    return terms


def is_computed(model: Model, weight: float) -> bool:
    """Return whether a term of this weight is computed: in evaluation always, in training unless the weight is 0."""
    # A vectorized pass over several models has a tensor of weights, none of which is 0.
    return isinstance(weight, Tensor) or weight != 0 or not model.training  # type: ignore[unreachable]


def normal_posterior(name: str, latent: Latent) -> Normal:
    """Return q(z|x) for the objective `name`, which needs a density for each dimension.

    Raises:
        AeframeError: The posterior is not normal.
    """
    if not isinstance(latent.posterior, Normal):
        raise AeframeError(
            f"objective '{name}' splits a normal posterior by dimension, but this latent's is "
            f"{type(latent.posterior).__name__}; choose latent=gaussian"
        )
    return latent.posterior


def gather_rows(value: Tensor) -> tuple[Tensor, slice]:
    """Return the rows ``(N, D)`` of `value` for the whole batch, and the slice of this device's rows among them.

    `value` is z or a tensor of its shape on this device; each sample is flattened to one row.
    The rows of all devices are gathered, so that the number of devices does not change the term.
    """
    return gather_rows_with_gradient(at_least_float32(value).flatten(1))
