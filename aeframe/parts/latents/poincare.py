"""The hyperbolic latent: the Poincaré ball with a normal posterior."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from aeframe.errors import AeframeError
from aeframe.parts.distributions.hyperbolic import Ball, RiemannianNormal, WrappedNormal
from aeframe.parts.latents.base import LatentSpace, drawn
from aeframe.parts.networks.head import Head
from aeframe.tensors import at_least_float32
from aeframe.types import Latent, Shape


class Poincare(LatentSpace):
    """q(z|x) is a normal distribution on the Poincaré ball (Mathieu et al. 2019, arXiv 1901.06033).

    z lies in the ball, always inside its border. Densities are by the volume of the ball's metric, as the prior's are.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: How many numbers a point has.
        curvature: c > 0, for a curvature of -c and a ball of radius 1 / sqrt(c).
        posterior: ``wrapped`` is a normal step in the tangent space of the mean, with a deviation along each axis;
            ``riemannian`` falls with the squared distance from the mean, and has one deviation. The prior is of the
            same family.
        gyroplanes: The decoder reads the signed distances of z to so many learned planes, which is the paper's first
            layer of a decoder; with 0, the tangent vector at the origin that leads to z.
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
    ) -> None:
        super().__init__()
        if dim < 2 or curvature <= 0 or gyroplanes < 0:
            raise AeframeError(
                "latent poincare needs dim of at least 2, curvature above 0 and gyroplanes of at least 0, found "
                f"{dim}, {curvature} and {gyroplanes}"
            )
        self.ball = Ball(curvature)
        self.family = WrappedNormal if posterior == "wrapped" else RiemannianNormal
        # Of a wider one most would lie beyond what single precision reaches.
        self.widest = self.family.widest(dim, self.ball)
        self.head = Head(feature_shape, dim + (dim if posterior == "wrapped" else 1), spatial=False)
        self.shape = (dim,)
        self.planes = Gyroplanes(dim, gyroplanes, self.ball) if gyroplanes else None

    @property
    def decoder_shape(self) -> Shape:
        return self.shape if self.planes is None else (len(self.planes.normals),)

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        step, raw = at_least_float32(self.head(features)).tensor_split([self.shape[0]], dim=1)
        mean = self.ball.exp(torch.zeros_like(step), step)
        # A deviation of nothing would be a density without bounds.
        posterior = self.family(mean, (softplus(raw) + 1e-3).clamp(max=self.widest), self.ball)
        return drawn(posterior, mean, sample=sample, num_samples=num_samples)

    def geodesic(self, start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
        """Return points of the shortest path in the ball's metric."""
        start, end = at_least_float32(start), at_least_float32(end)
        return self.ball.exp(start, weight * self.ball.log(start, end))

    def decoder_input(self, z: Tensor) -> Tensor:
        z = at_least_float32(z)
        return self.ball.log(torch.zeros_like(z), z) if self.planes is None else self.planes(z)


class Gyroplanes(nn.Module):
    """Signed distances of points of the ball to learned planes, each times the length of the plane's normal vector.

    In flat space this is a dense layer (Ganea et al. 2018, arXiv 1805.09112).
    """

    def __init__(self, dim: int, num: int, ball: Ball) -> None:
        super().__init__()
        self.ball = ball
        self.offsets = nn.Parameter(torch.zeros(num, dim))
        self.normals = nn.Parameter(torch.randn(num, dim) / dim**0.5)

    def forward(self, z: Tensor) -> Tensor:
        """Return ``(B, num)`` of z ``(B, dim)``."""
        through = self.ball.exp(torch.zeros_like(self.offsets), self.offsets)
        return self.ball.to_planes(z, through, self.normals) * self.normals.norm(dim=-1)
