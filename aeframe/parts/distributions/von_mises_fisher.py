"""The von Mises-Fisher distribution on the unit sphere, in any dimension."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize

from aeframe.parts.distributions.base import ReparameterizedDistribution
from aeframe.parts.distributions.radial import Radial


def log_area(d: int) -> float:
    """Return the log-area of the unit sphere in d dimensions: log 4 pi for d = 3."""
    return math.log(2) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)


class VonMisesFisher(ReparameterizedDistribution):
    """p(z) proportional to exp(kappa mu.z) on the unit sphere of d >= 2 dimensions, by area (Mardia & Jupp 2000).

    Everything is computed from the angle t between z and mu, of density exp(kappa cos t) sin^(d-2) t. Its integral is
    the Bessel function I_(d/2-1)(kappa) up to known factors, and its mean cosine the ratio of two Bessel functions.
    Values and gradients are therefore accurate in high dimensions, and the cost of a sample does not depend on kappa.

    Args:
        loc: mu, unit vectors ``(*batch, d)``.
        concentration: kappa > 0, ``(*batch)``.
    """

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration = loc, concentration
        super().__init__(concentration.shape, loc.shape[-1])

    @cached_property
    def _angle(self) -> Radial:
        """The distribution of the angle t."""
        half, kappa = 0.5 * (self.event_shape[0] - 2), self.concentration.detach()
        root = half + (half**2 + kappa.square()).sqrt()
        # At the peak kappa sin^2 t = (d - 2) cos t, so that cos t = kappa / root.
        peak = torch.atan2((2 * half / root).sqrt(), kappa / root)
        # The scale follows from 1 - cos t >= 2 (t / pi)^2.
        return Radial(self._log_density, peak, 0.5 * math.pi * root.rsqrt(), low=0.0, high=math.pi)

    def _log_density(self, angle: Tensor) -> Tensor:
        """Return the logarithm of ``exp(kappa (cos t - 1)) sin^(d-2) t``."""
        # 1 - cos t, without cancellation at small angles.
        height = 2 * (0.5 * angle).sin().square()
        return torch.special.xlogy(self.event_shape[0] - 2.0, angle.sin()) - self.concentration.unsqueeze(-1) * height

    @property
    def _one_minus_mean_cosine(self) -> Tensor:
        """1 - E[mu.z], ``(*batch)``."""
        return self._angle.mean(lambda angle: 2 * (0.5 * angle).sin().square())

    @property
    def mean(self) -> Tensor:
        """The mean ``(*batch, d)``, inside the sphere, of length I_(d/2)(kappa) / I_(d/2-1)(kappa)."""
        return (1 - self._one_minus_mean_cosine).unsqueeze(-1) * self.loc

    @property
    def _log_peak(self) -> Tensor:
        """The log-ratio of the density at mu to the uniform density, ``(*batch)``."""
        d = self.event_shape[0]
        uniform = 0.5 * math.log(math.pi) + math.lgamma(0.5 * (d - 1)) - math.lgamma(0.5 * d)
        return uniform - self._angle.log_integral

    def kl_to_uniform(self) -> Tensor:
        """Return the KL divergence from the uniform distribution, ``(*batch)``, in nats."""
        return self._log_peak - self.concentration * self._one_minus_mean_cosine

    def entropy(self) -> Tensor:
        return log_area(self.event_shape[0]) - self.kl_to_uniform()

    def log_prob(self, value: Tensor) -> Tensor:
        # -kappa (mu.z - 1), without cancellation where z is close to mu.
        decline = 0.5 * self.concentration * (value - self.loc).square().sum(-1)
        return self._log_peak - decline - log_area(self.event_shape[0])

    def draw(self, shape: torch.Size) -> Tensor:
        angle = self._angle.rsample(shape).unsqueeze(-1)
        tangent = torch.randn(*shape, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)
        # A uniform direction orthogonal to mu. Projected twice, because of rounding errors where the noise is nearly
        # parallel to mu.
        for _ in range(2):
            tangent = normalize(tangent - (tangent * self.loc).sum(-1, keepdim=True) * self.loc, dim=-1)
        return angle.cos() * self.loc + angle.sin() * tangent
