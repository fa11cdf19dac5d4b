"""The Gaussian latent: a diagonal normal posterior."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.networks.head import Head
from aeframe.tensors import at_least_float32
from aeframe.types import Latent, Shape


class Gaussian(LatentSpace):
    """q(z|x) = N(mean, diag(std^2)), sampled by reparameterisation (Kingma & Welling 2014, arXiv 1312.6114).

    `spatial` keeps the positions of the features. The log-variance is clamped to ±`max_log_variance`, so that one
    extreme batch does not overflow and end a run.
    """

    provides = frozenset({"posterior", "normal"})

    def __init__(
        self, feature_shape: Shape, *, dim: int = 16, spatial: bool = False, max_log_variance: float = 20.0
    ) -> None:
        super().__init__()
        self.head = Head(feature_shape, 2 * dim, spatial=spatial, groups=(dim, dim))
        self.shape = (dim, *self.head.shape[1:])
        self.max_log_variance = max_log_variance

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        mean, log_variance = at_least_float32(self.head(features)).chunk(2, dim=1)
        # hardtanh has the values of clamp, and its gradient takes half the time.
        std = (0.5 * F.hardtanh(log_variance, -self.max_log_variance, self.max_log_variance)).exp()
        z = torch.addcmul(mean, std, torch.randn(mean.shape, dtype=mean.dtype, device=mean.device)) if sample else mean
        return Latent(z, mean, posterior=Normal(mean, std, validate_args=False))
