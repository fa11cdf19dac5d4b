"""Normal distributions on the Poincaré ball, and the operations of its geometry."""

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

# Minimal distance of points to the border, as a fraction of the radius, up to which single precision suffices.
_MARGIN = 1e-4


@dataclass(frozen=True, slots=True)
class Ball:
    """The Poincaré ball: points x ``(..., d)`` with c |x|^2 < 1, of curvature -c (Ganea et al. 2018, arXiv 1805.09112).

    Tangent vectors are scaled by the metric at their point: they are those of the papers times the conformal factor
    lambda_x, and their norm is a distance. No operation subtracts two numbers near 1, so single precision suffices.
    """

    curvature: float
    """c > 0."""

    @property
    def root(self) -> float:
        """The square root of c, the inverse of the radius."""
        return math.sqrt(self.curvature)

    @property
    def max_distance(self) -> float:
        """The maximal distance of points from the origin."""
        return 2 * math.atanh(1 - _MARGIN) / self.root

    def gap(self, x: Tensor) -> Tensor:
        """Return 1 - c |x|^2, ``(..., 1)``."""
        return 1 - self.curvature * x.square().sum(-1, keepdim=True)

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the exponential map at x of the tangent vector v, clamped to inside the border."""
        length = (self.root * v.norm(dim=-1, keepdim=True)).clamp(min=1e-12)
        decay = (-length).exp()
        numerator, squared_sum = self._sum(x, (0.5 * length).tanh() / length * v)
        # The denominator of the Möbius addition of x and y is gap(x) gap(y) + c |x + y|^2. Here gap(y) is
        # 1 - tanh^2(length / 2), written without cancellation.
        z = numerator / (self.gap(x) * 4 * decay / (1 + decay).square() + squared_sum)
        limit = (1 - _MARGIN) / self.root
        return z * (limit / z.norm(dim=-1, keepdim=True).clamp(min=limit))

    def log(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the logarithmic map at x of z, the inverse of `exp`."""
        factor = (self.gap(x) * self.gap(z)).rsqrt() * self.root
        distance = 2 / self.root * (factor * (z - x).norm(dim=-1, keepdim=True)).asinh()
        return distance * normalize(self._sum(-x, z)[0], dim=-1)

    def distances_to_planes(self, z: Tensor, p: Tensor, a: Tensor) -> Tensor:
        """Return signed distances ``(..., n)`` of z ``(..., d)`` to n planes through p ``(n, d)`` with normals a."""
        z = z.unsqueeze(-2)
        projection = (self._sum(-p, z)[0] * normalize(a, dim=-1)).sum(-1)
        return (2 * self.root * projection / (self.gap(p) * self.gap(z)).squeeze(-1)).asinh() / self.root

    def _sum(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numerator of the Möbius addition of x and y, and c |x + y|^2."""
        squared_sum = self.curvature * (x + y).square().sum(-1, keepdim=True)
        return self.gap(x) * (x + y) + squared_sum * x, squared_sum


class _BallNormal(ReparameterizedDistribution):
    """The base class of both normals: a centre `loc` ``(*batch, d)``, a `scale`, and steps in its tangent space.

    Densities are with respect to the volume of the metric of the ball.
    """

    def __init__(self, loc: Tensor, scale: Tensor, ball: Ball) -> None:
        self.loc, self.scale, self.ball = loc, scale, ball
        super().__init__(loc.shape[:-1], loc.shape[-1])

    @property
    def mean(self) -> Tensor:
        """The centre ``(*batch, d)``, which is the Fréchet mean."""
        return self.loc

    def draw(self, shape: torch.Size) -> Tensor:
        return self.ball.exp(self.loc, self._step(shape))

    def _step(self, shape: torch.Size) -> Tensor:
        """Return random tangent vectors at the centre, ``(*shape, *batch, d)``."""
        raise NotImplementedError

    def _noise(self, shape: torch.Size) -> Tensor:
        """Return standard normal noise ``(*shape, *batch, d)``."""
        return torch.randn(*shape, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)


class WrappedNormal(_BallNormal):
    """A normal in the tangent space of the centre, mapped to the ball (Nagano et al. 2019, arXiv 1902.02992; Mathieu et
    al. 2019).

    `scale` is ``(*batch, d)`` or ``(*batch, 1)``: the standard deviations along the axes, as distances.
    """

    @staticmethod
    def max_scale(d: int, ball: Ball) -> float:
        """Return the largest scale at which most of the mass is within `Ball.max_distance`."""
        return ball.max_distance / math.sqrt(d)

    def _step(self, shape: torch.Size) -> Tensor:
        return self.scale * self._noise(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        step = self.ball.log(self.loc, value)
        log_normal = Normal(torch.zeros_like(step), self.scale, validate_args=False).log_prob(step).sum(-1)
        length = self.ball.root * step.norm(dim=-1)
        return log_normal - (step.shape[-1] - 1) * _log_sinh_ratio(length)


class RiemannianNormal(_BallNormal):
    """The density proportional to exp(-distance^2 / (2 sigma^2)) (Pennec 2006; Mathieu et al. 2019, arXiv 1901.06033).

    `scale` is sigma, ``(*batch, 1)``. In d dimensions most of the mass is at distances near sigma^2 (d - 1) sqrt(c).
    """

    @staticmethod
    def max_scale(d: int, ball: Ball) -> float:
        """Return the largest scale at which most of the mass is within `Ball.max_distance`."""
        return math.sqrt(ball.max_distance / ((d - 1) * ball.root))

    @cached_property
    def _distance(self) -> Radial:
        """The distribution of the distance from the centre."""
        sigma, root, extra_dims = self.scale.detach().squeeze(-1), self.ball.root, self.event_shape[0] - 1
        # The peak r solves r^2 = sigma^2 (d - 1) x coth x for x = sqrt(c) r. It is found by fixed-point iterations; the
        # start uses that x coth x lies between 1 and 1 + x.
        peak = sigma * (0.5 * extra_dims * root * sigma + math.sqrt(extra_dims))
        for _ in range(8):
            x = root * peak
            peak = sigma * (extra_dims * x / x.tanh()).sqrt()
        return Radial(self._log_density, peak, sigma, low=0.0)

    def _log_density(self, r: Tensor) -> Tensor:
        """Return the log-density of the distance r, up to a constant: a normal factor times the area of the sphere."""
        d = self.event_shape[0]
        return (d - 1) * (_log_sinh_ratio(self.ball.root * r) + r.log()) - 0.5 * (r / self.scale).square()

    def _step(self, shape: torch.Size) -> Tensor:
        return self._distance.rsample(shape).unsqueeze(-1) * normalize(self._noise(shape), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        squared_distance = (self.ball.log(self.loc, value) / self.scale).square().sum(-1)
        return -0.5 * squared_distance - self._distance.log_integral - log_area(self.event_shape[0])


def _log_sinh_ratio(x: Tensor) -> Tensor:
    """Return log(sinh x / x) of x >= 0, the log-ratio of the radii of hyperbolic and Euclidean spheres."""
    small = x < 0.1
    series = x.square() * (1 / 6 - x.square() / 180)
    x = x.masked_fill(small, 1.0)
    return torch.where(small, series, x + torch.log(-torch.expm1(-2 * x) / (2 * x)))
