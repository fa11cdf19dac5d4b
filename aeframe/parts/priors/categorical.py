"""The uniform prior of categorical variables."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from aeframe.errors import AeframeError
from aeframe.parts.distributions.one_hot import OneHot
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.priors.base import Prior
from aeframe.types import Latent, Shape


class UniformCategorical(Prior):
    """Uniform over the classes of each of V variables. The KL is exact, with one entry per variable, ``(B, V)``."""

    spaces = frozenset({"simplex"})

    def __init__(self, z_shape: Shape, latent: LatentSpace) -> None:
        super().__init__()
        if len(set(latent.groups)) != 1:
            raise AeframeError(
                f"prior categorical needs variables with equally many classes, found groups {latent.groups} of latent "
                f"{type(latent).__name__}; choose latent=categorical"
            )
        # The number of classes of each variable.
        self.groups = latent.groups
        # Used for its device and dtype only, which are those of samples.
        self.register_buffer("_device", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        return z.new_full(z.shape[:-1], -sum(math.log(classes) for classes in self.groups))

    def sample(self, num: int) -> Tensor:
        device: Tensor = self._device  # type: ignore[assignment]
        chosen = torch.randint(self.groups[0], (num, len(self.groups)), device=device.device)
        return one_hot(chosen, self.groups[0]).flatten(1).to(device.dtype)

    def kl(self, latent: Latent) -> Tensor:
        q = latent.posterior
        return q.kl_to_uniform() if isinstance(q, OneHot) else super().kl(latent)
