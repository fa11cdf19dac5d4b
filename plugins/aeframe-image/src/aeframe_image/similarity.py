"""Structural similarity (SSIM) and multi-scale structural similarity (MS-SSIM).

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.types import Domain, Shape

WINDOW = 11
"""Side of the Gaussian window in pixels."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The weight of each scale, from the finest; Wang, Simoncelli & Bovik (2003) calibrated them by human judgements."""
_SIGMA = 1.5
"""Standard deviation of the window in pixels."""
_K1, _K2 = 0.01, 0.03
"""The constants of Wang, Bovik, Sheikh & Simoncelli (2004), which keep quotients of small numbers stable."""
_MATRIX_SIDE = 128
"""Up to this side, blurring is a product with a banded matrix, which takes a fifth of the time of a convolution at 28
pixels, half of it at 64 and the same at 128.
"""
_TANGENT_AT = 0.05
"""Below this, `ms_ssim` replaces the logarithm by its tangent."""


def value_span(domain: Domain) -> float:
    """Return the width of the value range of a domain, infinite for an unbounded one."""
    low, high = domain.bounds
    return high - low


def ssim_maps(reconstruction: Tensor, x: Tensor, span: float) -> tuple[Tensor, Tensor]:
    """Return the SSIM at each pixel ``(B, C, H, W)``, and its factor of contrast and structure (without luminance).

    The window is Gaussian with standard deviation 1.5 over 11 x 11 pixels (Wang, Bovik, Sheikh & Simoncelli 2004). On
    smaller images, window and deviation shrink to the largest odd side that fits: 7 on 8 x 8 pixels. Images are
    extended by reflection. `span` is the width of the value range.
    """
    window = _window(min(WINDOW, *x.shape[2:]), x)
    images = torch.cat([reconstruction, x, reconstruction * reconstruction, x * x, reconstruction * x])
    mean_r, mean_x, square_r, square_x, product = _blur(images, window).split(len(x))
    # Rounding can make a variance of about 0 negative.
    variances = (square_r - mean_r.square()).clamp_min(0) + (square_x - mean_x.square()).clamp_min(0)
    c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
    structure = (2 * (product - mean_r * mean_x) + c2) / (variances + c2)
    luminance = (2 * mean_r * mean_x + c1) / (mean_r.square() + mean_x.square() + c1)
    return luminance * structure, structure


def ssim(reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
    """Return the SSIM ``(B,)`` of images ``(B, C, H, W)``: the mean over pixels of `ssim_maps`."""
    return ssim_maps(reconstruction, x, span)[0].flatten(1).mean(1)


def ms_ssim(reconstruction: Tensor, x: Tensor, span: float, weights: tuple[float, ...]) -> Tensor:
    """Return the MS-SSIM ``(B,)`` of images ``(B, C, H, W)`` (Wang, Simoncelli & Bovik 2003).

    It is the product over scales of the factor of contrast and structure to the power of the scale's weight, with
    luminance at the coarsest scale only; each scale has half the resolution of the one before. A factor below 0.05 may
    be negative or have a vanishing gradient, so there its logarithm is replaced by the tangent at 0.05.

    Args:
        reconstruction: The reconstructed images, ``(B, C, H, W)``.
        x: The original images, ``(B, C, H, W)``.
        span: The width of the value range.
        weights: The weight of each scale, from the finest.
    """
    if len(weights) == 1:
        return ssim(reconstruction, x, span)
    logarithm = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for number, weight in enumerate(weights, start=1):
        similarity, structure = ssim_maps(reconstruction, x, span)
        last = number == len(weights)
        mean = (similarity if last else structure).flatten(1).mean(1)
        tangent = (mean - _TANGENT_AT).clamp_max(0) / _TANGENT_AT
        logarithm = logarithm + weight * (mean.clamp_min(_TANGENT_AT).log() + tangent)
        if not last:
            reconstruction, x = F.avg_pool2d(reconstruction, 2), F.avg_pool2d(x, 2)
    return logarithm.exp()


def scales_that_fit(shape: Shape) -> int:
    """Return the number of scales, 1 to 5, at which the full window fits on images ``(C, H, W)``."""
    sides = [min(shape[1:]) // 2**scale for scale in range(len(SCALE_WEIGHTS))]
    return max(1, sum(side >= WINDOW for side in sides))


def _window(side: int, like: Tensor) -> Tensor:
    """Return the normalised one-dimensional Gaussian window of the largest odd length up to `side`."""
    side -= 1 - side % 2
    radius = side // 2
    # A smaller window ends at 3.5 standard deviations, as the full one does up to rounding: 3.5 * 1.5 is 5.25.
    sigma = _SIGMA if side == WINDOW else max(radius, 1) / 3.5
    offsets = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    window = (-offsets.square() / (2 * sigma**2)).exp()
    return window / window.sum()


def _blur(images: Tensor, window: Tensor) -> Tensor:
    """Return the weighted mean around each pixel, with the one-dimensional `window` along both axes."""
    radius, channels = len(window) // 2, images.shape[1]
    if max(images.shape[2:]) <= _MATRIX_SIDE:
        vertical, horizontal = (_blur_matrix(size, window) for size in images.shape[2:])
        return vertical.T @ (images @ horizontal)
    padded = F.pad(images, (radius,) * 4, mode="reflect")
    vertical = F.conv2d(padded, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(vertical, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _blur_matrix(size: int, window: Tensor) -> Tensor:
    """Return the matrix ``(size, size)`` whose product with a row of pixels is that row, extended and blurred."""
    radius = len(window) // 2
    extended = F.pad(torch.eye(size, dtype=window.dtype, device=window.device)[None], (radius, radius), mode="reflect")
    return extended[0].unfold(1, len(window), 1) @ window
