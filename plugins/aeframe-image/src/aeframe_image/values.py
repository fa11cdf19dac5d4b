"""How stored pixels become the values a model is trained on, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aeframe.types import Batch

ImageDomain = Literal["unit", "signed", "binary"]
EVALUATION_SEED = 0
"""Sampled binary images of the validation and test splits are drawn from this and their row, so they never change."""


@dataclass(frozen=True, slots=True)
class Values:
    """Map stored pixels (uint8, or float32 in [0, 1]) to a domain.

    ``unit`` [0, 1]; ``signed`` [-1, 1]; ``binary`` {0, 1}: 1 where a pixel is at least half bright, or, with `sample`,
    with its brightness as the probability (Salakhutdinov & Murray 2008, ICML), drawn anew from torch's generator each
    time a training image is seen.
    """

    domain: ImageDomain = "unit"
    sample: bool = False

    def __call__(self, pixels: Tensor) -> Tensor:
        """Map pixels of training images, of any shape."""
        unit = _unit(pixels)
        if self.domain == "signed":
            return unit * 2 - 1
        if self.domain == "binary":
            return torch.bernoulli(unit) if self.sample else (unit >= 0.5).float()
        return unit

    def training(self, batch: Batch) -> Batch:
        """Make a batch to train on of stored pixels."""
        return batch.with_x(self(batch.x))

    def evaluation(self, batch: Batch) -> Batch:
        """Make a batch to measure on of stored pixels: the same each time, whatever it is batched with."""
        if not self.sample or batch.index is None:
            return self.training(batch)
        unit, generator = _unit(batch.x), torch.Generator()
        drawn = torch.empty_like(unit)
        for place, row in enumerate(batch.index.tolist()):
            generator.manual_seed(EVALUATION_SEED + row)
            torch.bernoulli(unit[place], generator=generator, out=drawn[place])
        return batch.with_x(drawn)

    def pixels(self, x: Tensor) -> Tensor:
        """Return uint8 pixels of values; what is outside the domain is clipped."""
        unit = (x.detach().float().cpu() + 1) / 2 if self.domain == "signed" else x.detach().float().cpu()
        return (unit.clamp(0, 1) * 255).round().to(torch.uint8)


def _unit(pixels: Tensor) -> Tensor:
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
