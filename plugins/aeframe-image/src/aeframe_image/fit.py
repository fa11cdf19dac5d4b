"""Convert images to a given size and number of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.types import Shape

FitMode = Literal["crop", "resize", "pad"]
# Weights of red, green and blue in the grey value: ITU-R BT.601 luma, as in PNG and JPEG tools.
_LUMA = (0.299, 0.587, 0.114)
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Fit:
    """Convert images ``(N, C, H, W)``, uint8 or floats in [0, 1], to a size and a number of channels.

    Scaling is bilinear, antialiased when downscaling.

    Raises:
        AeframeError: A `padding` outside [0, 1].
    """

    size: tuple[int, int] | None = None
    """Height and width; None keeps those of the images."""
    how: FitMode = "crop"
    """``crop`` scales the largest centred part with the aspect ratio of `size`. ``resize`` scales the full image, which
    may distort it. ``pad`` scales the full image without distortion and pads it to `size`, centred."""
    channels: int | None = None
    """1 converts to grey, 3 to RGB or to the first three bands of more, any other number keeps the first bands; None
    keeps the channels of the images."""
    padding: float = 0.0
    """Brightness of the pixels that ``pad`` adds, in [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.padding <= 1:
            raise AeframeError(
                f"modality.padding is the brightness of the pixels that fit=pad adds and must be from 0 (black) to 1, "
                f"found {self.padding:g}"
            )

    def shape(self, shape: Shape) -> Shape:
        """Return the shape ``(C, H, W)`` of an image after conversion, from its original `shape`.

        Raises:
            AeframeError: Its channels cannot be converted.
        """
        channels = self.channels or shape[0]
        if channels != shape[0] and shape[0] != 1 and (channels > shape[0] or (channels == 1 and shape[0] != 3)):
            raise AeframeError(
                f"images of {shape[0]} channels cannot be converted to {channels}, only to fewer, or colour to grey; "
                f"convert them, or train with channels={shape[0]}"
            )
        return (channels, *(self.size or shape[1:]))

    def __call__(self, pixels: Tensor) -> Tensor:
        if self.shape(tuple(pixels.shape[1:])) == tuple(pixels.shape[1:]):
            return pixels
        # In chunks, because floats take four times the memory of uint8.
        return torch.cat([self._fit(chunk) for chunk in pixels.split(_CHUNK)])

    def _fit(self, pixels: Tensor) -> Tensor:
        x = pixels.float()
        if self.channels == 1 and x.shape[1] == 3:
            x = (x * x.new_tensor(_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
        elif self.channels is not None and x.shape[1] == 1:
            x = x.expand(-1, self.channels, -1, -1)
        elif self.channels is not None:
            x = x[:, : self.channels]
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            if self.how == "pad":
                x = self._pad(x, self.padding * (255 if pixels.dtype == torch.uint8 else 1))
            else:
                x = _scale(self._crop(x) if self.how == "crop" else x, self.size)
        if pixels.dtype == torch.uint8:
            return x.round().clamp(0, 255).to(torch.uint8)
        return x.clamp(0, 1)

    def _crop(self, x: Tensor) -> Tensor:
        assert self.size is not None
        height, width = x.shape[2:]
        scale = min(height / self.size[0], width / self.size[1])
        rows = min(height, max(1, round(self.size[0] * scale)))
        columns = min(width, max(1, round(self.size[1] * scale)))
        top, left = (height - rows) // 2, (width - columns) // 2
        return x[:, :, top : top + rows, left : left + columns]

    def _pad(self, x: Tensor, value: float) -> Tensor:
        assert self.size is not None
        scale = min(target / side for target, side in zip(self.size, x.shape[2:], strict=True))
        rows, columns = (
            min(target, max(1, round(side * scale))) for target, side in zip(self.size, x.shape[2:], strict=True)
        )
        top, left = (self.size[0] - rows) // 2, (self.size[1] - columns) // 2
        padded = x.new_full((*x.shape[:2], *self.size), value)
        padded[:, :, top : top + rows, left : left + columns] = _scale(x, (rows, columns))
        return padded


def _scale(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
