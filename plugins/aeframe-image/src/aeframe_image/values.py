"""Convert stored pixels to the values of a model's domain, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aeframe.row_noise import row_uniforms
from aeframe.types import Batch

ImageDomain = Literal["unit", "signed", "binary"]
Binarization = Literal["threshold", "sample", "fixed"]
_TRAINING, _HELD_OUT = 1, 0
"""Streams of the noise of `_binarized`, so that row n of the training split has other noise than that of a test."""


@dataclass(frozen=True, slots=True)
class Values:
    """Convert stored pixels (uint8, or float32 in [0, 1]) to a domain and back.

    The domains are ``unit`` [0, 1], ``signed`` [-1, 1] and ``binary`` {0, 1}.
    """

    domain: ImageDomain = "unit"
    binarize: Binarization = "threshold"
    """With ``binary``: ``sample`` and ``fixed`` draw each pixel with its brightness as the probability of 1
    (Salakhutdinov & Murray 2008, ICML); ``threshold`` compares it with 0.5. ``sample`` draws training images anew at
    each use, ``fixed`` draws each only once."""
    seed: int = 0
    """Seed of the images that are drawn once."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Convert pixels of training images, of any shape; samples come from torch's global generator."""
        unit = to_unit(pixels)
        if self.domain == "signed":
            return unit * 2 - 1
        if self.domain == "binary":
            return (unit >= 0.5).float() if self.binarize == "threshold" else torch.bernoulli(unit)
        return unit

    def training(self, batch: Batch) -> Batch:
        """Convert a batch of stored pixels for training."""
        if self.domain == "binary" and self.binarize == "fixed" and batch.index is not None:
            return batch.with_x(self._binarized(batch.x, batch.index, _TRAINING))
        return batch.with_x(self(batch.x))

    def evaluation(self, batch: Batch) -> Batch:
        """Convert a batch of stored pixels for evaluation; samples depend only on the row of each image."""
        if self.domain != "binary" or self.binarize == "threshold" or batch.index is None:
            return batch.with_x(self(batch.x))
        return batch.with_x(self._binarized(batch.x, batch.index, _HELD_OUT))

    def _binarized(self, pixels: Tensor, rows: Tensor, stream: int) -> Tensor:
        """Return samples ``(B, ...)`` of stored pixels, a function of the seed, the stream and the row ``(B,)``."""
        uniform = row_uniforms(rows.long(), math.prod(pixels.shape[1:]), seed=self.seed, draw=stream)
        return (uniform.to(pixels.device).view_as(pixels) < to_unit(pixels)).float()

    def unit(self, x: Tensor) -> Tensor:
        """Return the brightness of values, from 0 (black) to 1 (white).

        Values outside the domain are clipped, and masked ones (NaN) are black.
        """
        unit = (x.detach().float().cpu() + 1) / 2 if self.domain == "signed" else x.detach().float().cpu()
        return unit.nan_to_num(0.0).clamp(0, 1)

    def pixels(self, x: Tensor) -> Tensor:
        """Convert values to uint8 pixels; values outside the domain are clipped."""
        return (self.unit(x) * 255).round().to(torch.uint8)


def to_unit(pixels: Tensor) -> Tensor:
    """Return stored pixels as floats from 0 (black) to 1 (white)."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
