"""Losses that look at windows of an image as eyes do, instead of at single pixels."""

from __future__ import annotations

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.losses.base import BoundedMean
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch, Domain, Shape
from aeframe_image.similarity import SCALE_WEIGHTS, WINDOW, maps, ms_ssim, scales_that_fit


class _Structural(BoundedMean):
    """What the two losses have in common.

    `mix` is how much of it is about windows; the rest is the absolute error over the width of the values' range, which
    keeps brightness and colours (Zhao, Gallo, Frosio & Kautz 2017, arXiv 1511.08861).
    """

    unit = "distance"
    domains = frozenset({"unit", "signed", "binary"})

    def __init__(self, who: str, shape: Shape, span: float, mix: float, activation: str | None) -> None:
        super().__init__(len(shape), activation)
        if len(shape) != 3 or min(shape[1:]) < 3:
            raise AeframeError(
                f"{who} compares pictures (C, H, W) of 3 x 3 pixels or more, found the shape {shape}; choose loss=mse"
            )
        if not 0 <= mix <= 1:
            raise AeframeError(f"{who} needs mix in [0, 1], found {mix}; 0.84 is usual")
        self.span, self.mix = span, mix

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        # Hidden pixels are alike in both images, so that no window sees them differ.
        x, x_hat = self.masked_x_and_reconstruction(output, batch)
        lead = x_hat.shape[: x_hat.ndim - self.ndim]
        rows = x_hat.reshape(-1, *x.shape[1:])
        like = at_least_float32(x).to(rows.dtype).expand(x_hat.shape).reshape(rows.shape)
        mask = None
        if batch.mask is not None:
            mask = broadcast_mask(batch.mask, x.ndim).expand_as(x).expand(x_hat.shape).reshape(rows.shape)
        distance = self.mix * self.apart(rows, like, mask)
        if self.mix < 1:
            distance = distance + (1 - self.mix) / self.span * per_sample((rows - like).abs())
        return distance.reshape(lead)

    def apart(self, reconstruction: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return ``(B,)`` of images ``(B, C, H, W)``, summed over the pixels that the mask counts."""
        raise NotImplementedError


class StructuralSimilarity(_Structural):
    """1 - SSIM, summed over pixels and channels (Wang, Bovik, Sheikh & Simoncelli 2004, IEEE Trans. Image Processing).

    The metric ``ssim`` is 1 less its mean per element. The window is Gaussian, 11 x 11, and shrinks on smaller images.

    Args:
        shape: ``(C, H, W)``.
        domain: Says how wide the range of the values is.
        mix: The share of this in the loss; the rest is the absolute error. 0.84 is usual.
        activation: Bounds the reconstruction: null, ``sigmoid`` for data in [0, 1], ``tanh`` for [-1, 1].
    """

    def __init__(self, shape: Shape, domain: Domain, *, mix: float = 1.0, activation: str | None = None) -> None:
        super().__init__("loss ssim", shape, _span(domain), mix, activation)

    def apart(self, reconstruction: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        apart = 1 - maps(reconstruction, x, self.span)[0]
        return per_sample(apart if mask is None else apart.masked_fill(~mask, 0))


class MultiScaleSimilarity(_Structural):
    """1 - MS-SSIM of an image, times the number of its pixels and channels (Wang, Simoncelli & Bovik 2003, Asilomar).

    Similarity at up to five scales, each half as large as the one before: as many as a window of 11 x 11 pixels fits
    on, which is five from 176 pixels on, two on 28 x 28 and one below 22, where it is ``ssim``. Of the paper's weights
    those of the finest scales are taken, brought to a sum of 1.

    Args:
        shape: ``(C, H, W)``.
        domain: Says how wide the range of the values is.
        scales: How many, at most 5; null takes what fits.
        mix: The share of this in the loss; the rest is the absolute error. 0.84 is usual.
        activation: Bounds the reconstruction: null, ``sigmoid`` for data in [0, 1], ``tanh`` for [-1, 1].
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        scales: int | None = None,
        mix: float = 1.0,
        activation: str | None = None,
    ) -> None:
        super().__init__("loss ms_ssim", shape, _span(domain), mix, activation)
        fit = scales_that_fit(shape)
        if scales is not None and not 1 <= scales <= fit:
            raise AeframeError(
                f"loss ms_ssim has windows of {WINDOW} pixels, which fit on {shape[1]} x {shape[2]} pixels at {fit} "
                f"scale{'s' * (fit > 1)}, found scales={scales}; leave it at null"
            )
        weights = SCALE_WEIGHTS[: scales or fit]
        self.weights = tuple(weight / sum(weights) for weight in weights)

    def apart(self, reconstruction: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        counted = x[0].numel() if mask is None else mask.flatten(1).sum(1)
        return (1 - ms_ssim(reconstruction, x, self.span, self.weights)) * counted


def _span(domain: Domain) -> float:
    low, high = domain.bounds
    return high - low
