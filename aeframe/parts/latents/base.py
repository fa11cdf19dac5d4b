"""`LatentSpace`, the base class of latents, which map the encoder's features to z."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aeframe.parts.schedules import Schedule
from aeframe.types import Latent, Shape, TrainingProgress


class LatentSpace(nn.Module):
    """Maps features ``(B, C, *positions)`` to z and what is known about it, a `Latent`.

    A constructor takes `feature_shape` ``(C, *positions)`` and sets `shape`, that of one z. `weights` has a schedule
    for the weight of each loss term in `Latent.terms`; a term without a schedule has weight 1.
    """

    provides: ClassVar[frozenset[str]] = frozenset()
    """Which of these a `Latent` of this space has: ``posterior`` (a distribution with `log_prob`), ``normal`` (a
    posterior that is a diagonal normal), ``hierarchy`` (a z of groups of variables, each conditioned on those above
    it), ``codes`` (integers), ``sparse`` (a z of mostly zeros), ``metric`` (of a curved space, as `geometry()` of the
    latent); empty for a deterministic code.
    """
    space: ClassVar[str] = "euclidean"
    """The space of z, which a prior must support: ``euclidean``, ``sphere``, ``ball``, ``simplex``, ..."""
    batch_terms: ClassVar[frozenset[str]] = frozenset()
    """Names of the loss terms that compare the samples of a batch with each other."""
    shape: Shape
    weights: dict[str, Schedule]
    num_codes: int = 0
    """Number of different codes, for spaces that provide codes."""
    num_levels: int = 1
    """Number L of codes at each position, the last size of `Latent.codes` ``(B, *positions, L)``."""
    groups: tuple[int, ...] = ()
    """Sizes of consecutive groups of the flattened z: groups of a hierarchy, or one-hot vectors; empty without."""
    num_continuous: int | None = None
    """The number of continuous numbers for spaces whose z is continuous numbers followed by one-hot vectors. A KL for
    each dimension then begins with as many entries, followed by one for each one-hot vector. None for other spaces.
    """

    @property
    def decoder_shape(self) -> Shape:
        """The shape of `decoder_input` for one sample."""
        return self.shape

    def __init__(self) -> None:
        super().__init__()
        self.weights = {}

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        """Return z and what is known about it.

        Args:
            features: ``(B, C, *positions)``.
            sample: Sample z from the posterior, where there is one; otherwise z is the mean.
        """
        raise NotImplementedError

    def decoder_input(self, z: Tensor) -> Tensor:
        """Return the decoder's input ``(B, *decoder_shape)`` for z ``(B, *shape)``; by default z itself.

        For example the reconstruction of a dictionary, the last hidden state of a hierarchy, or a tangent vector of the
        ball.
        """
        return z

    def geodesic(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """Return the point at the fraction `weight` of the path from `start` to `end`, ``(..., *shape)``; all
        arguments are broadcast.

        A straight line by default; a curved space returns its shortest path.
        """
        return torch.lerp(start, end, weight)

    def distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances ``(N, M)`` between codes ``(N, *shape)`` and ``(M, *shape)``; Euclidean by default."""
        # Not by the product of matrices, whose rounding would hide small distances.
        return torch.cdist(a.flatten(1), b.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")

    def on_progress(self, progress: TrainingProgress) -> None:
        """Set what depends on schedules; called before each training batch (see `Autoencoder.set_progress`)."""

    def refine_posterior(self, latent: Latent, log_joint: Callable[[Tensor], Tensor]) -> Latent:
        """Return the latent with a sample closer to p(z|x); unchanged by default.

        Args:
            latent: A sample of the posterior.
            log_joint: Returns log p(x, z) ``(B,)`` in nats of z ``(B, *shape)`` (see `Objective.log_joint`).
        """
        return latent

    def observe(self, mean: Tensor) -> None:
        """Update buffers from the means ``(B, *shape)`` of a batch; by default does nothing.

        Called after each forward pass in training that samples z with gradients. Each x has one row, also with
        importance samples.
        """

    def from_codes(self, codes: Tensor) -> Tensor:
        """Return z ``(B, *shape)`` of codes ``(B, *positions, num_levels)``, for spaces that provide codes."""
        raise NotImplementedError


def latent_of(posterior: Distribution, mean: Tensor, *, sample: bool) -> Latent:
    """Return the latent of a posterior over vectors ``(B, d)``: z is a sample, or the `mean`."""
    return Latent(posterior.rsample() if sample else mean, mean, posterior=posterior)
