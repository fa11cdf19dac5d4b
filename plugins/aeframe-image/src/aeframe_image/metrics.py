"""What people measure on reconstructed images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from aeframe.batch import Pass
from aeframe.evaluation.base import PassMetric
from aeframe.evaluation.sums import SUM_DTYPE

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder

_CAP_DB = 100.0
_WINDOW = 11
_SIGMA = 1.5


def psnr(reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
    """Return the peak signal-to-noise ratio ``(B,)`` of images ``(B, C, H, W)`` in dB: 10 log10(span^2 / mean error^2).

    `span` is the width of the values' range. A perfect image would have infinitely many dB; 100 is the most that is
    given.
    """
    error = (reconstruction - x).square().flatten(1).mean(1) / span**2
    return -10 * error.clamp_min(10 ** (-_CAP_DB / 10)).log10()


def ssim(reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
    """Return the structural similarity ``(B,)`` of images ``(B, C, H, W)`` (Wang, Bovik, Sheikh & Simoncelli 2004).

    The window is the paper's, Gaussian with deviation 1.5 over 11 x 11 pixels. On smaller images it shrinks, deviation
    and all, to the largest odd number of pixels that fits: 7 on 8 x 8.
    """
    side = min(_WINDOW, *x.shape[2:])
    radius = (side - 1) // 2
    # torchmetrics makes the window of the deviation, with int(3.5 * sigma + 0.5) pixels to each side.
    sigma: Sequence[float] = [_SIGMA if side == _WINDOW else radius / 3.5] * 2
    similarity = structural_similarity_index_measure(reconstruction, x, sigma=sigma, data_range=span, reduction="none")
    assert isinstance(similarity, Tensor)
    return similarity


class _PerImage(PassMetric):
    """The mean over images of a number that each image has."""

    total: Tensor
    num_images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return len(model.spec.shape) == 3 and math.isfinite(_span(model))

    def update(self, model: Autoencoder, p: Pass) -> None:
        values = self.measure(model.loss.mean(p.output).float(), p.batch.x.float(), _span(model))
        self.total = self.total + values.sum(dtype=SUM_DTYPE)
        self.num_images = self.num_images + len(values)

    def measure(self, reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
        """Return one number ``(B,)`` for each image."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        return self.total / self.num_images


class PSNR(_PerImage):
    """Peak signal-to-noise ratio in dB, the mean over images of each image's own, over the range of the domain.

    It is not that of the mean error over all images, which is lower wherever images differ in difficulty.
    """

    higher_is_better = True

    def measure(self, reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
        return psnr(reconstruction, x, span)


class SSIM(_PerImage):
    """Structural similarity, at most 1, the mean over images (Wang, Bovik, Sheikh & Simoncelli 2004)."""

    higher_is_better = True

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        # The smallest window is 3 x 3.
        return super().applies(model) and min(model.spec.shape[1:]) >= 3

    def measure(self, reconstruction: Tensor, x: Tensor, span: float) -> Tensor:
        return ssim(reconstruction, x, span)


def _span(model: Autoencoder) -> float:
    low, high = model.spec.domain.bounds
    return high - low
