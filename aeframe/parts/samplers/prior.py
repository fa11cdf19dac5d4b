"""The sampler that draws from the model's prior."""

from __future__ import annotations

from torch import Tensor

from aeframe.parts.samplers.base import Sampler
from aeframe.types import Model


class PriorSampler(Sampler):
    """Draws from the model's prior, without a fit."""

    spaces = None

    def sample(self, model: Model, num: int) -> Tensor:
        z: Tensor = model.prior.sample(num)
        return z
