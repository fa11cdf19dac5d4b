"""The standard normal prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.parts.priors.base import Prior
from aeframe.tensors import per_sample
from aeframe.types import Latent, Shape


class StandardNormal(Prior):
    """N(0, I)."""

    def __init__(self, z_shape: Shape) -> None:
        super().__init__()
        self.z_shape = z_shape
        # Used for its device only, which is that of samples.
        self.register_buffer("_device", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        num_batch_dims = z.ndim - len(self.z_shape)
        return per_sample(-0.5 * (z.square() + math.log(2 * math.pi)), num_batch_dims)

    def sample(self, num: int) -> Tensor:
        device: Tensor = self._device  # type: ignore[assignment]
        return torch.randn(num, *self.z_shape, device=device.device)

    def kl(self, latent: Latent) -> Tensor:
        q = latent.posterior
        if not isinstance(q, Normal):
            return super().kl(latent)
        # The closed form, with one value for each dimension, as free bits and the diagnostics of dimensions require.
        # (mean^2 + std^2 - 1) / 2 - log std, in the form with the fewest passes over memory.
        mean, std = q.loc, q.scale
        return torch.addcmul(torch.addcmul(-0.5 - std.log(), std, std, value=0.5), mean, mean, value=0.5)
