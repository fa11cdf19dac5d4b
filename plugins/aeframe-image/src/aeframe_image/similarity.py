"""Structural similarity, at one scale and at several.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.types import Shape

WINDOW = 11
"""Pixels on a side of the Gaussian window."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of each scale, from the finest, as Wang, Simoncelli & Bovik (2003) found them by asking people."""
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
_FLOOR = 0.05


def maps(reconstruction: Tensor, x: Tensor, span: float) -> tuple[Tensor, Tensor]:
    """Return the similarity at each pixel ``(B, C, H, W)``, and its part from contrast and structure alone.

    The window is that of Wang, Bovik, Sheikh & Simoncelli (2004), Gaussian with deviation 1.5 over 11 x 11 pixels. On
    smaller images it shrinks, deviation and all, to the largest odd number of pixels that fits: 7 on 8 x 8. What lies
    beyond an image mirrors it. `span` is the width of the values' range.
    """
    window = _window(min(WINDOW, *x.shape[2:]), x)
    num = len(x)
    both = torch.cat([reconstruction, x, reconstruction * reconstruction, x * x, reconstruction * x])
    mean_r, mean_x, square_r, square_x, product = _blurred(both, window).split(num)
    # A variance is a difference of two numbers that may be equal but for rounding.
    variances = (square_r - mean_r.square()).clamp_min(0) + (square_x - mean_x.square()).clamp_min(0)
    c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
    structure = (2 * (product - mean_r * mean_x) + c2) / (variances + c2)
    luminance = (2 * mean_r * mean_x + c1) / (mean_r.square() + mean_x.square() + c1)
    return luminance * structure, structure


def ssim(reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
    """Return the structural similarity ``(B,)`` of images ``(B, C, H, W)``: the mean over pixels, see `maps`."""
    return maps(reconstruction, x, span)[0].flatten(1).mean(1)


def ms_ssim(reconstruction: Tensor, x: Tensor, span: float, weights: tuple[float, ...]) -> Tensor:
    """Return the similarity at several scales ``(B,)`` of images ``(B, C, H, W)`` (Wang, Simoncelli & Bovik 2003).

    Contrast and structure at each scale, luminance at the coarsest; each scale has half the pixels of the one before,
    and the power of its weight. A similarity below 0.05 has no power, or one without a slope to learn from: there its
    logarithm goes on as a straight line.
    """
    if len(weights) == 1:
        return ssim(reconstruction, x, span)
    logarithm = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for number, weight in enumerate(weights, start=1):
        similarity, structure = maps(reconstruction, x, span)
        last = number == len(weights)
        mean = (similarity if last else structure).flatten(1).mean(1)
        logarithm = logarithm + weight * (mean.clamp_min(_FLOOR).log() + (mean - _FLOOR).clamp_max(0) / _FLOOR)
        if not last:
            reconstruction, x = F.avg_pool2d(reconstruction, 2), F.avg_pool2d(x, 2)
    return logarithm.exp()


def scales_that_fit(shape: Shape) -> int:
    """Return at how many scales, at most 5, a whole window fits on images ``(C, H, W)``; at least one."""
    sides = [min(shape[1:]) // 2**scale for scale in range(len(SCALE_WEIGHTS))]
    return max(1, sum(side >= WINDOW for side in sides))


def _window(side: int, like: Tensor) -> Tensor:
    side -= 1 - side % 2
    radius = side // 2
    sigma = _SIGMA if side == WINDOW else max(radius, 1) / 3.5
    places = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    line = (-places.square() / (2 * sigma**2)).exp()
    return line / line.sum()


def _blurred(images: Tensor, window: Tensor) -> Tensor:
    """Return the mean below the window at each pixel; the window is the product of two lines."""
    radius, channels = len(window) // 2, images.shape[1]
    wide = F.pad(images, (radius,) * 4, mode="reflect")
    rows = F.conv2d(wide, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(rows, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
