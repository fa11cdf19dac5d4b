"""Samples from the model's own prior."""

from __future__ import annotations

from torch import Tensor

from aeframe.parts.samplers.base import Sampler
from aeframe.types import Model


class PriorSampler(Sampler):
    """Draw from the model's own prior."""

    spaces = None

    def sample(self, model: Model, num: int) -> Tensor:
        drawn: Tensor = model.prior.sample(num)
        return drawn
