"""The uniform prior on the hypersphere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from aeframe.parts.distributions.von_mises_fisher import VonMisesFisher, log_area
from aeframe.parts.priors.base import Prior
from aeframe.types import Latent, Shape


class UniformSphere(Prior):
    """Uniform on the unit sphere, by area (Davidson et al. 2018, arXiv 1804.00891)."""

    spaces = frozenset({"sphere"})

    def __init__(self, z_shape: Shape) -> None:
        super().__init__()
        self.z_shape = z_shape
        # Used for its device only, which is that of samples.
        self.register_buffer("_device", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        return z.new_full(z.shape[:-1], -log_area(*self.z_shape))

    def sample(self, num: int) -> Tensor:
        device: Tensor = self._device  # type: ignore[assignment]
        return normalize(torch.randn(num, *self.z_shape, device=device.device), dim=-1)

    def kl(self, latent: Latent) -> Tensor:
        q = latent.posterior
        return q.kl_to_uniform() if isinstance(q, VonMisesFisher) else super().kl(latent)
