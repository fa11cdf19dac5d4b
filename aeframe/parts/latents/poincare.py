"""The hyperbolic latent: points of the Poincaré ball with a normal posterior."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.distributions.hyperbolic import Ball, RiemannianNormal, WrappedNormal
from aeframe.parts.latents.base import LatentSpace, latent_of
from aeframe.parts.networks.head import Head
from aeframe.tensors import at_least_float32
from aeframe.types import Latent, Shape


class Poincare(LatentSpace):
    """q(z|x) is a normal distribution on the Poincaré ball (Mathieu et al. 2019, arXiv 1901.06033).

    z is strictly inside the ball. Densities are with respect to the volume of the ball's metric, as those of the prior.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Number of dimensions of the ball.
        curvature: c > 0, for a curvature of -c and a ball of radius 1 / sqrt(c).
        posterior: ``wrapped``: a normal in the tangent space of the mean, with one standard deviation per axis, mapped
            to the ball; ``riemannian``: a density that decreases with the squared distance from the mean, with one
            standard deviation. The prior has the same family.
        gyroplanes: The decoder reads the signed distances of z to this number of learned planes, after an activation:
            the paper's first decoder layer. With 0 it reads the logarithmic map of z at the origin.
        activation: The activation after the distances; null takes the model's activation.
    """

    provides = frozenset({"posterior"})
    space = "ball"

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 16,
        curvature: float = 1.0,
        posterior: Literal["wrapped", "riemannian"] = "wrapped",
        gyroplanes: int = 0,
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        if dim < 2 or curvature <= 0 or gyroplanes < 0:
            raise AeframeError(
                "latent poincare needs dim of at least 2, curvature above 0 and gyroplanes of at least 0, found "
                f"{dim}, {curvature} and {gyroplanes}"
            )
        self.ball = Ball(curvature)
        self.family = WrappedNormal if posterior == "wrapped" else RiemannianNormal
        # With a larger scale, most of the mass would lie where single precision fails.
        self.max_scale = self.family.max_scale(dim, self.ball)
        num_scales = dim if posterior == "wrapped" else 1
        self.head = Head(feature_shape, dim + num_scales, spatial=False, groups=(dim, num_scales))
        self.shape = (dim,)
        self.planes = Gyroplanes(dim, gyroplanes, self.ball) if gyroplanes else None
        self.activation = (activation or MakeActivation.named("relu")).same_shape("latent poincare")()

    @property
    def decoder_shape(self) -> Shape:
        return self.shape if self.planes is None else (len(self.planes.normals),)

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        # The mean as a tangent vector at the origin, and the scale before the softplus.
        tangent, raw_scale = at_least_float32(self.head(features)).tensor_split([self.shape[0]], dim=1)
        mean = self.ball.exp(torch.zeros_like(tangent), tangent)
        # At a standard deviation of 0 the density would be unbounded.
        posterior = self.family(mean, (softplus(raw_scale) + 1e-3).clamp(max=self.max_scale), self.ball)
        return latent_of(posterior, mean, sample=sample)

    def distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Return distances in the metric of the ball."""
        a, b = at_least_float32(a), at_least_float32(b)
        factor = (self.ball.gap(a) * self.ball.gap(b).T).rsqrt() * self.ball.root
        return 2 / self.ball.root * (factor * super().distances(a, b)).asinh()

    def geodesic(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """Return points of the shortest path in the metric of the ball."""
        start, end = at_least_float32(start), at_least_float32(end)
        return self.ball.exp(start, weight * self.ball.log(start, end))

    def decoder_input(self, z: Tensor) -> Tensor:
        z = at_least_float32(z)
        if self.planes is None:
            return self.ball.log(torch.zeros_like(z), z)
        features: Tensor = self.activation(self.planes(z))
        return features


class Gyroplanes(nn.Module):
    """Signed distances of points in the ball to learned planes, times the length of each plane's normal vector.

    In Euclidean space this is a dense layer (Ganea et al. 2018, arXiv 1805.09112).
    """

    def __init__(self, dim: int, num: int, ball: Ball) -> None:
        super().__init__()
        self.ball = ball
        # Each plane contains the point that the exponential map at the origin returns of its offset.
        self.offsets = nn.Parameter(torch.zeros(num, dim))
        self.normals = nn.Parameter(torch.randn(num, dim) / dim**0.5)

    def forward(self, z: Tensor) -> Tensor:
        """Return ``(B, num)`` of z ``(B, dim)``."""
        points = self.ball.exp(torch.zeros_like(self.offsets), self.offsets)
        return self.ball.distances_to_planes(z, points, self.normals) * self.normals.norm(dim=-1)
