"""The prior of latent joint, whose z is continuous numbers followed by one-hot vectors of categorical variables."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.distributions.one_hot import ProductDistribution
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.latents.joint import Joint
from aeframe.parts.priors.base import Prior
from aeframe.parts.priors.categorical import UniformCategorical
from aeframe.parts.priors.normal import StandardNormal
from aeframe.types import Latent, Shape


class JointPrior(Prior):
    """N(0, I) for the continuous numbers, and uniform classes for the categorical variables.

    The KL is exact. It has one entry for each continuous number, followed by one for each categorical variable.
    """

    spaces = frozenset({"joint"})

    def __init__(self, z_shape: Shape, latent: LatentSpace) -> None:
        super().__init__()
        if not isinstance(latent, Joint):
            raise AeframeError(
                f"prior joint requires a latent joint, found {type(latent).__name__}; choose latent=joint"
            )
        # `latent.numbers` and `latent.classes` are the Gaussian and the categorical latent that `latent` consists of.
        self.numbers = StandardNormal(latent.numbers.shape)
        self.classes = UniformCategorical(latent.classes.shape, latent.classes)
        self.sizes = [*latent.numbers.shape, *latent.classes.shape]

    def log_prob(self, z: Tensor) -> Tensor:
        numbers, classes = z.split(self.sizes, dim=-1)
        return self.numbers.log_prob(numbers) + self.classes.log_prob(classes)

    def sample(self, num: int) -> Tensor:
        return torch.cat([self.numbers.sample(num), self.classes.sample(num)], dim=1)

    def kl(self, latent: Latent) -> Tensor:
        q = latent.posterior
        if not isinstance(q, ProductDistribution):
            return super().kl(latent)
        pairs = zip(latent.z.split(self.sizes, -1), latent.mean.split(self.sizes, -1), q.parts, strict=True)
        numbers, classes = (Latent(z, mean, posterior=part) for z, mean, part in pairs)
        return torch.cat([self.numbers.kl(numbers), self.classes.kl(classes)], dim=1)
