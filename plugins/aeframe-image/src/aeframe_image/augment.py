"""Augmentation of training images by random crops and horizontal flips."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.pictures import format_shape


@dataclass(frozen=True, slots=True)
class Augment:
    """Augment pixels ``(B, C, H, W)`` of training images, each at random by torch's global generator."""

    crop: int = 0
    """Pad each image by this many pixels on each side with its reflection, and crop a random window of its original
    size. He et al. (2016, arXiv 1512.03385) pad with black instead."""
    flip: bool = False
    """Mirror left and right with probability 1/2."""

    def check(self, shape: Shape) -> None:
        """Check `crop` against the image shape ``(C, H, W)``.

        Raises:
            AeframeError: `crop` is negative, or not smaller than height and width.
        """
        if not 0 <= self.crop < min(shape[1:]):
            raise AeframeError(
                f"modality 'image' needs random_crop from 0 to {min(shape[1:]) - 1} pixels for images of "
                f"{format_shape(shape)} (channels x height x width), found {self.crop}; an eighth of the side is usual"
            )

    def __call__(self, pixels: Tensor) -> Tensor:
        num, _, height, width = pixels.shape
        # The row and column of the original image from which each row and column of the result is taken.
        rows, columns = torch.arange(height).expand(num, -1), torch.arange(width).expand(num, -1)
        if self.crop:
            shift_down, shift_right = (torch.randint(-self.crop, self.crop + 1, (num, 1)) for _ in range(2))
            rows, columns = _reflect(rows + shift_down, height), _reflect(columns + shift_right, width)
        if self.flip:
            columns = torch.where(torch.rand(num, 1) < 0.5, columns.flip(1), columns)
        if self.crop:
            pixels = pixels.gather(2, rows[:, None, :, None].expand_as(pixels))
        return pixels.gather(3, columns[:, None, None, :].expand_as(pixels)) if self.crop or self.flip else pixels


def _reflect(index: Tensor, size: int) -> Tensor:
    """Return indices with those outside 0 to size - 1 reflected at the first and last pixel."""
    return size - 1 - (size - 1 - index.abs()).abs()
