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
    """Return the logarithm of the area of the unit sphere in d dimensions: log 4 pi for d = 3."""
    return math.log(2) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)


class VonMisesFisher(ReparameterizedDistribution):
    """p(z) proportional to exp(kappa mu.z) on the unit sphere of d >= 2 dimensions, by area (Mardia & Jupp 2000).

    All of it follows from the angle t between z and mu, of density exp(kappa cos t) sin^(d-2) t: its integral is the
    Bessel function I_(d/2-1)(kappa) of the textbooks but for known factors, and its mean cosine the ratio of two of
    them. So values and gradients hold in high dimension, and a draw costs the same whatever kappa is.

    Args:
        loc: mu ``(*batch, d)``, of length one.
        concentration: kappa > 0, ``(*batch)``.
    """

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration = loc, concentration
        super().__init__(concentration.shape, loc.shape[-1])

    @cached_property
    def _angle(self) -> Radial:
        half, kappa = 0.5 * (self.event_shape[0] - 2), self.concentration.detach()
        root = half + (half**2 + kappa.square()).sqrt()
        peak = torch.atan2((2 * half / root).sqrt(), kappa / root)
        # 1 - cos t is nowhere less than 2 (t / pi)^2.
        return Radial(self._log_density, peak, 0.5 * math.pi * root.rsqrt(), low=0.0, high=math.pi)

    def _log_density(self, angle: Tensor) -> Tensor:
        """Return ``exp(kappa (cos t - 1)) sin^(d-2) t`` as a logarithm; 1 - cos t would lose the small angles."""
        height = 2 * (0.5 * angle).sin().square()
        return torch.special.xlogy(self.event_shape[0] - 2.0, angle.sin()) - self.concentration.unsqueeze(-1) * height

    @property
    def _shortfall(self) -> Tensor:
        """``(*batch)``: 1 - E[mu.z]."""
        return self._angle.mean(lambda angle: 2 * (0.5 * angle).sin().square())

    @property
    def mean(self) -> Tensor:
        """``(*batch, d)``: inside the sphere, of length I_(d/2)(kappa) / I_(d/2-1)(kappa)."""
        return (1 - self._shortfall).unsqueeze(-1) * self.loc

    @property
    def _log_peak(self) -> Tensor:
        """``(*batch)``: the logarithm of how often the density at mu is that of the uniform distribution."""
        d = self.event_shape[0]
        uniform = 0.5 * math.log(math.pi) + math.lgamma(0.5 * (d - 1)) - math.lgamma(0.5 * d)
        return uniform - self._angle.log_integral

    def kl_to_uniform(self) -> Tensor:
        """Return ``(*batch)``, in nats."""
        return self._log_peak - self.concentration * self._shortfall

    def entropy(self) -> Tensor:
        return log_area(self.event_shape[0]) - self.kl_to_uniform()

    def log_prob(self, value: Tensor) -> Tensor:
        # kappa (mu.z - 1), of which half precision's worth would be lost where z is close to mu.
        decline = 0.5 * self.concentration * (value - self.loc).square().sum(-1)
        return self._log_peak - decline - log_area(self.event_shape[0])

    def draw(self, shape: torch.Size) -> Tensor:
        angle = self._angle.rsample(shape).unsqueeze(-1)
        aside = torch.randn(*shape, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)
        # Any direction at right angles to mu is as likely as another. Once more, for what is left of noise that was
        # almost along mu is mostly rounding.
        for _ in range(2):
            aside = normalize(aside - (aside * self.loc).sum(-1, keepdim=True) * self.loc, dim=-1)
        return angle.cos() * self.loc + angle.sin() * aside
