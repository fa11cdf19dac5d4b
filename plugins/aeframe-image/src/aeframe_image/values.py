"""Convert stored pixels to the values of a model's domain, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aeframe.types import Batch

ImageDomain = Literal["unit", "signed", "binary"]
EVALUATION_SEED = 0
"""Sampled binary images of the held-out splits are seeded by this plus their row, so they are always the same."""


@dataclass(frozen=True, slots=True)
class Values:
    """Convert stored pixels (uint8, or float32 in [0, 1]) to a domain and back.

    The domains are ``unit`` [0, 1], ``signed`` [-1, 1] and ``binary`` {0, 1}.
    """

    domain: ImageDomain = "unit"
    sample: bool = False
    """With ``binary``: sample each pixel with its brightness as the probability of 1 (Salakhutdinov & Murray 2008,
    ICML). Training images are sampled anew at each use. Without `sample`, pixels are thresholded at 0.5."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Convert pixels of training images, of any shape; samples come from torch's global generator."""
        unit = to_unit(pixels)
        if self.domain == "signed":
            return unit * 2 - 1
        if self.domain == "binary":
            return torch.bernoulli(unit) if self.sample else (unit >= 0.5).float()
        return unit

    def training(self, batch: Batch) -> Batch:
        """Convert a batch of stored pixels for training."""
        return batch.with_x(self(batch.x))

    def evaluation(self, batch: Batch) -> Batch:
        """Convert a batch of stored pixels for evaluation; samples depend only on the row of each image."""
        if not self.sample or batch.index is None:
            return self.training(batch)
        unit, generator = to_unit(batch.x), torch.Generator()
        samples = torch.empty_like(unit)
        for position, row in enumerate(batch.index.tolist()):
            generator.manual_seed(EVALUATION_SEED + row)
            torch.bernoulli(unit[position], generator=generator, out=samples[position])
        return batch.with_x(samples)

    def unit(self, x: Tensor) -> Tensor:
        """Return the brightness of values, from 0 (black) to 1 (white); values outside the domain are clipped."""
        unit = (x.detach().float().cpu() + 1) / 2 if self.domain == "signed" else x.detach().float().cpu()
        return unit.clamp(0, 1)

    def pixels(self, x: Tensor) -> Tensor:
        """Convert values to uint8 pixels; values outside the domain are clipped, and masked ones (NaN) are black."""
        return (self.unit(x).nan_to_num(0.0) * 255).round().to(torch.uint8)


def to_unit(pixels: Tensor) -> Tensor:
    """Return stored pixels as floats from 0 (black) to 1 (white)."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
