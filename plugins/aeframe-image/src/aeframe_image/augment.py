"""Other views of training images: moved and mirrored, drawn anew each time one is seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.pictures import shown


@dataclass(frozen=True, slots=True)
class Augment:
    """Change stored pixels ``(B, C, H, W)`` of training images by what torch's generator draws for each.

    `crop`: a window of the image's own size, at random out of the image with so many pixels more on each side, which
    mirror those inside (He et al. 2016, arXiv 1512.03385, who have black ones). `flip`: left and right change places
    with a chance of one half.
    """

    crop: int = 0
    flip: bool = False

    def check(self, shape: Shape) -> None:
        """Refuse a margin that images of `shape` cannot mirror.

        Raises:
            AeframeError: It is negative, or as large as the smaller side.
        """
        if not 0 <= self.crop < min(shape[1:]):
            raise AeframeError(
                f"modality 'image' has images of {shown(shape)} (channels x height x width), which takes random_crop "
                f"from 0 to {min(shape[1:]) - 1} pixels, found {self.crop}; about an eighth of the side is usual"
            )

    def __call__(self, pixels: Tensor) -> Tensor:
        num, _, height, width = pixels.shape
        rows, columns = torch.arange(height).expand(num, -1), torch.arange(width).expand(num, -1)
        if self.crop:
            down, right = torch.randint(-self.crop, self.crop + 1, (2, num, 1))
            rows, columns = _mirrored(rows + down, height), _mirrored(columns + right, width)
        if self.flip:
            columns = torch.where(torch.rand(num, 1) < 0.5, columns.flip(1), columns)
        if self.crop:
            pixels = pixels.gather(2, rows[:, None, :, None].expand_as(pixels))
        return pixels.gather(3, columns[:, None, None, :].expand_as(pixels)) if self.crop or self.flip else pixels


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Bring places beyond the ends back inside, as in a mirror that stands on the last pixel."""
    return size - 1 - (size - 1 - index.abs()).abs()
