"""The normal prior on the Poincaré ball."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.distributions.hyperbolic import RiemannianNormal, WrappedNormal
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.latents.poincare import Poincare
from aeframe.parts.priors.base import Prior
from aeframe.types import Shape


class BallPrior(Prior):
    """A normal at the origin of the ball, with the curvature and family (wrapped or Riemannian normal) of latent
    poincare (Mathieu et al. 2019, arXiv 1901.06033).

    `scale` is its standard deviation, as a distance.
    """

    spaces = frozenset({"ball"})
    origin: Tensor
    scale: Tensor

    def __init__(self, z_shape: Shape, latent: LatentSpace, *, scale: float = 1.0) -> None:
        super().__init__()
        if not isinstance(latent, Poincare):
            raise AeframeError(
                f"prior ball requires a latent poincare, found {type(latent).__name__}; choose latent=poincare"
            )
        if not 0 < scale <= latent.max_scale:
            raise AeframeError(
                f"prior ball needs scale above 0 and at most {latent.max_scale:.3g}, the limit of single precision in "
                f"{z_shape[0]} dimensions, found {scale:g}; change prior.scale, or lower latent.dim"
            )
        self.ball, self.family = latent.ball, latent.family
        self.register_buffer("origin", torch.zeros(z_shape), persistent=False)
        self.register_buffer("scale", torch.full((1,), scale), persistent=False)

    @property
    def distribution(self) -> WrappedNormal | RiemannianNormal:
        """p(z)."""
        return self.family(self.origin, self.scale, self.ball)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.distribution.log_prob(z)

    def sample(self, num: int) -> Tensor:
        return self.distribution.sample((num,))
