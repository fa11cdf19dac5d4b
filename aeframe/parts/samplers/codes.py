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

# The weight of a uniform distribution in the frequencies, so that codes absent from the training data stay possible.
_UNIFORM_WEIGHT = 0.01


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

    def log_frequencies(self) -> Tensor:
        """Return ``(P, K)``: the log-probability of each code at each place, independently of other places."""
        uniform = torch.full_like(self.frequencies, 1 / self.frequencies.shape[1])
        return torch.lerp(self.frequencies, uniform, _UNIFORM_WEIGHT).log()

    def log_prob(self, codes: Tensor) -> Tensor:
        """Return ``(B,)``: the log-probability of codes ``(B, *positions, levels)`` in nats.

        As a code of finite length for every sample requires, codes that no training sample has are possible here, and
        have a small probability.
        """
        check_fitted(self.name, self.frequencies)
        return self.log_frequencies().gather(1, codes.flatten(1).T).sum(0)

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
