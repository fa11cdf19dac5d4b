"""Normal distributions on the Poincaré ball, and the few formulas of its geometry that they need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import normalize

from aeframe.parts.distributions.base import ReparameterizedDistribution
from aeframe.parts.distributions.radial import Radial
from aeframe.parts.distributions.von_mises_fisher import log_area

# How near to the border a point may come, as a share of the radius: single precision tells distances apart there.
_MARGIN = 1e-4


@dataclass(frozen=True, slots=True)
class Ball:
    """The Poincaré ball: points x ``(..., d)`` with c |x|^2 < 1, of curvature -c (Ganea et al. 2018, arXiv 1805.09112).

    A tangent vector is measured by the metric of its point, so its norm is the distance it leads: lambda_x times the
    coordinates that the papers write. Nothing subtracts two numbers near one, so single precision does.
    """

    curvature: float
    """c > 0."""

    @property
    def root(self) -> float:
        """The square root of c, one over the radius."""
        return math.sqrt(self.curvature)

    @property
    def reach(self) -> float:
        """How far from the origin points are kept."""
        return 2 * math.atanh(1 - _MARGIN) / self.root

    def gap(self, x: Tensor) -> Tensor:
        """Return ``(..., 1)``: 1 - c |x|^2."""
        return 1 - self.curvature * x.square().sum(-1, keepdim=True)

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """Return where the tangent vector v at x leads; at most to just inside the border."""
        length = (self.root * v.norm(dim=-1, keepdim=True)).clamp(min=1e-12)
        decay = (-length).exp()
        numerator, apart = self._sum(x, (0.5 * length).tanh() / length * v)
        z = numerator / (self.gap(x) * 4 * decay / (1 + decay).square() + apart)
        farthest = (1 - _MARGIN) / self.root
        return z * (farthest / z.norm(dim=-1, keepdim=True).clamp(min=farthest))

    def log(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the tangent vector at x that leads to z."""
        stretch = (self.gap(x) * self.gap(z)).rsqrt() * self.root
        distance = 2 / self.root * (stretch * (z - x).norm(dim=-1, keepdim=True)).asinh()
        return distance * normalize(self._sum(-x, z)[0], dim=-1)

    def to_planes(self, z: Tensor, p: Tensor, a: Tensor) -> Tensor:
        """Return ``(..., n)``: the signed distances of z ``(..., d)`` to n planes through p ``(n, d)`` across a."""
        z = z.unsqueeze(-2)
        aside = (self._sum(-p, z)[0] * normalize(a, dim=-1)).sum(-1)
        return (2 * self.root * aside / (self.gap(p) * self.gap(z)).squeeze(-1)).asinh() / self.root

    def _sum(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numerator of the Möbius sum of x and y, and c |x + y|^2."""
        apart = self.curvature * (x + y).square().sum(-1, keepdim=True)
        return self.gap(x) * (x + y) + apart * x, apart


class _BallNormal(ReparameterizedDistribution):
    """What both normal distributions have: a centre `loc` ``(*batch, d)``, a `scale`, and steps away from the centre.

    Densities are with respect to the volume of the ball's own metric.
    """

    def __init__(self, loc: Tensor, scale: Tensor, ball: Ball) -> None:
        self.loc, self.scale, self.ball = loc, scale, ball
        super().__init__(loc.shape[:-1], loc.shape[-1])

    @property
    def mean(self) -> Tensor:
        """``(*batch, d)``: the centre, which is the mean in the sense of Fréchet."""
        return self.loc

    def draw(self, shape: torch.Size) -> Tensor:
        return self.ball.exp(self.loc, self._step(shape))

    def _step(self, shape: torch.Size) -> Tensor:
        raise NotImplementedError

    def _noise(self, shape: torch.Size) -> Tensor:
        return torch.randn(*shape, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)


class WrappedNormal(_BallNormal):
    """A normal step in the tangent space of the centre (Nagano et al. 2019, arXiv 1902.02992; Mathieu et al. 2019).

    `scale` is ``(*batch, d)`` or ``(*batch, 1)``: the deviations along the axes, in distance.
    """

    @staticmethod
    def widest(d: int, ball: Ball) -> float:
        """Return the scale at which most of it lies where points are still kept."""
        return ball.reach / math.sqrt(d)

    def _step(self, shape: torch.Size) -> Tensor:
        return self.scale * self._noise(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        step = self.ball.log(self.loc, value)
        plain = Normal(torch.zeros_like(step), self.scale, validate_args=False).log_prob(step).sum(-1)
        length = self.ball.root * step.norm(dim=-1)
        return plain - (step.shape[-1] - 1) * _log_spread(length)


class RiemannianNormal(_BallNormal):
    """The density proportional to exp(-distance^2 / (2 sigma^2)) (Pennec 2006; Mathieu et al. 2019, arXiv 1901.06033).

    `scale` is sigma, ``(*batch, 1)``. In d dimensions most of it lies about sigma^2 (d - 1) sqrt(c) from the centre.
    """

    @staticmethod
    def widest(d: int, ball: Ball) -> float:
        """Return the scale at which most of it lies where points are still kept."""
        return math.sqrt(ball.reach / ((d - 1) * ball.root))

    @cached_property
    def _distance(self) -> Radial:
        sigma, root, others = self.scale.detach().squeeze(-1), self.ball.root, self.event_shape[0] - 1
        # The peak r solves r^2 = sigma^2 (d - 1) x coth x for x = sqrt(c) r; x coth x lies between 1 and 1 + x.
        peak = sigma * (0.5 * others * root * sigma + math.sqrt(others))
        for _ in range(8):
            x = root * peak
            peak = sigma * (others * x / x.tanh()).sqrt()
        return Radial(self._log_density, peak, sigma, low=0.0)

    def _log_density(self, r: Tensor) -> Tensor:
        """Return the logarithm of exp(-r^2 / (2 sigma^2)) times the area of the sphere of radius r over that of 1."""
        d = self.event_shape[0]
        return (d - 1) * (_log_spread(self.ball.root * r) + r.log()) - 0.5 * (r / self.scale).square()

    def _step(self, shape: torch.Size) -> Tensor:
        return self._distance.rsample(shape).unsqueeze(-1) * normalize(self._noise(shape), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        far = (self.ball.log(self.loc, value) / self.scale).square().sum(-1)
        return -0.5 * far - self._distance.log_integral - log_area(self.event_shape[0])


def _log_spread(x: Tensor) -> Tensor:
    """Return log(sinh x / x) of x >= 0: how much wider a sphere of the ball is than one of flat space."""
    small = x < 0.1
    series = x.square() * (1 / 6 - x.square() / 180)
    x = x.masked_fill(small, 1.0)
    return torch.where(small, series, x + torch.log(-torch.expm1(-2 * x) / (2 * x)))
