"""A sampler of a quantiser's integer codes that treats all codes of a sample as independent.

A quantiser has one or more levels, and returns one integer code of each level at each position. A place is a position
and a level.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.samplers.base import Sampler, check_fitted
from aeframe.types import Model


class CodeSampler(Sampler):
    """Draws the code of each position and level by its frequency among the training codes, independently of the others.

    Args:
        model: A model whose latent space is a quantiser.
    """

    requires = frozenset({"codes"})
    requires_fit = True
    name: ClassVar[str] = "codes"
    """The registered name, for error messages."""
    frequencies: Tensor
    """``(positions * num_levels, num_codes)``: the relative frequency of each code at each place."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        num_places = math.prod(model.latent.shape[1:]) * model.latent.num_levels
        self.register_buffer("frequencies", torch.zeros(num_places, num_codes(self.name, model)))

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        if codes is None:
            raise AeframeError(
                f"sampler {self.name} requires the integer codes of a quantiser, found a latent that provides none"
            )
        if not len(codes):
            raise AeframeError(f"sampler {self.name} needs at least 1 sample to fit, found 0")
        codes = codes.flatten(1).to(self.frequencies.device)
        num_places, num_different = self.frequencies.shape
        # One bin for each code at each place.
        bins = codes + num_different * torch.arange(num_places, device=codes.device)
        counts = bins.flatten().bincount(minlength=num_places * num_different)
        self.frequencies.copy_(counts.reshape(num_places, num_different) / len(codes))

    def sample(self, model: Model, num: int) -> Tensor:
        check_fitted(self.name, self.frequencies)
        return model.latent.from_codes(self.draw(num).reshape(num, *model.latent.shape[1:], model.latent.num_levels))

    def draw(self, num: int) -> Tensor:
        """Draw integer codes ``(num, positions * num_levels)``."""
        return torch.multinomial(self.frequencies, num, replacement=True).T


def num_codes(name: str, model: Model) -> int:
    """Return the number of different integer codes of the model's latent space.

    Raises:
        AeframeError: A latent space without integer codes; the message has the sampler's `name`.
    """
    count = model.latent.num_codes
    if not count:
        raise AeframeError(
            f"sampler {name} requires a latent with num_codes, such as vq or fsq, found {type(model.latent).__name__}; "
            "choose sampler=prior or sampler=gmm"
        )
    return count
