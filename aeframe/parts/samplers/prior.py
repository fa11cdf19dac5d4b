"""Samples from the model's own prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aeframe.parts.samplers.base import Sampler

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class PriorSampler(Sampler):
    """Draw from the model's own prior."""

    spaces = None

    def sample(self, model: Autoencoder, num: int) -> Tensor:
        drawn: Tensor = model.prior.sample(num)
        return drawn
