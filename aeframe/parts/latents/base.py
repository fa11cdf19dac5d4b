"""What every latent space is."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aeframe.parts.schedules import Schedule
from aeframe.types import Latent, Shape, TrainingProgress


class LatentSpace(nn.Module):
    """A way from features ``(B, C, *positions)`` to a code.

    A constructor is given `feature_shape` ``(C, *positions)`` and sets `shape`, that of one z. `provides` says what is
    known of a code: ``"posterior"`` (a distribution with `log_prob`), ``"normal"`` (which is a diagonal normal),
    ``"hierarchy"`` (each group of it given those above), ``"codes"`` (integers), ``"sparse"`` (mostly zeros),
    ``"metric"`` (of a curved space), or nothing but a point.
    `weights` has a schedule for each of the terms it puts into `Latent.terms`; a term without one weighs 1.
    """

    provides: ClassVar[frozenset[str]] = frozenset()
    space: ClassVar[str] = "euclidean"
    """Where z lives, which a prior must be made for: ``euclidean``, ``sphere``, ``ball``, ``simplex``, ..."""
    batch_terms: ClassVar[frozenset[str]] = frozenset()
    """Terms that compare the samples of a batch with each other, so that they are no sample's own."""
    shape: Shape
    weights: dict[str, Schedule]
    num_codes: int = 0
    """How many different integers a code may be, for spaces that give codes."""
    num_levels: int = 1
    """How many such integers each position has: L of ``Latent.codes (B, *positions, L)``."""
    groups: tuple[int, ...] = ()
    """How many numbers of the flattened z belong together, group by group, for spaces made of several."""

    @property
    def decoder_shape(self) -> Shape:
        """The shape of one sample's share of `decoder_input`."""
        return self.shape

    def __init__(self) -> None:
        super().__init__()
        self.weights = {}

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        """Return the code of features.

        With `sample` z is drawn from the posterior (where there is one), otherwise ``z = mean``. With `num_samples`
        K, z is ``(K, B, *shape)``.
        """
        raise NotImplementedError

    def decoder_input(self, z: Tensor) -> Tensor:
        """Return what the decoder reads of z: ``(B, *shape)`` -> ``(B, *decoder_shape)``; z itself by default.

        A dictionary's features, the state at the end of a hierarchy's way down, a ball's tangent space, ...
        """
        return z

    def geodesic(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """Return the points between two codes at `weight` in [0, 1] of the way: ``(..., *shape)``, all broadcast.

        A straight line by default; a space whose codes lie on a curved surface returns the shortest path on it.
        """
        return torch.lerp(start, end, weight)

    def on_progress(self, progress: TrainingProgress) -> None:
        """Take what schedules say at this moment, before each training batch (see `Model.at`)."""

    def refine_posterior(self, latent: Latent, log_joint: Callable[[Tensor], Tensor]) -> Latent:
        """Return the latent with a sample closer to p(z|x); unchanged by default.

        Args:
            latent: A sample of the posterior.
            log_joint: Returns log p(x, z) ``(..., B)`` in nats of z ``(..., B, *shape)`` (see `Objective.log_joint`).
        """
        return latent

    def from_codes(self, codes: Tensor) -> Tensor:
        """Return z ``(B, *shape)`` of integer codes ``(B, *positions, num_levels)``, for spaces that give codes."""
        raise NotImplementedError


def drawn(posterior: Distribution, mean: Tensor, *, sample: bool, num_samples: int | None) -> Latent:
    """Return the code of a posterior over flat rows, ``(B,)`` of them: a draw, or the `mean` ``(B, d)``."""
    lead = () if num_samples is None else (num_samples,)
    z = posterior.rsample(torch.Size(lead)) if sample else mean.expand(*lead, *mean.shape)
    return Latent(z, mean, posterior=posterior)
