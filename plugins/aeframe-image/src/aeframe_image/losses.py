"""The losses ``ssim`` and ``ms_ssim``: structural dissimilarity of images."""

from __future__ import annotations

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.losses.base import BoundedMean
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch, Domain, Shape
from aeframe_image.similarity import SCALE_WEIGHTS, WINDOW, ms_ssim, scales_that_fit, ssim_maps, value_span


class _StructuralLoss(BoundedMean):
    """The base class: ``mix * dissimilarity + (1 - mix) * absolute error / span``.

    The absolute error, relative to the width of the value range, preserves brightness and colours (Zhao, Gallo, Frosio
    & Kautz 2017, arXiv 1511.08861).

    Args:
        who: The loss's name, for error messages.
        shape: Shape of one image, ``(C, H, W)``.
        domain: Domain of x: which values pixels take.
        mix: The weight of the dissimilarity, in [0, 1].
        activation: Bounds the reconstruction; None takes the default of the domain.
    """

    unit = "distance"
    domains = frozenset({"unit", "signed", "binary"})

    def __init__(self, who: str, shape: Shape, domain: Domain, mix: float, activation: str | None) -> None:
        super().__init__(len(shape), domain, activation)
        if len(shape) != 3 or min(shape[1:]) < 3:
            raise AeframeError(
                f"{who} compares images (C, H, W) of at least 3 x 3 pixels, found the shape {shape}; choose loss=mse"
            )
        if not 0 <= mix <= 1:
            raise AeframeError(f"{who} needs mix in [0, 1], found {mix}; 0.84 is usual")
        self.span, self.mix = value_span(domain), mix

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        # Masked pixels are equal in both images, so they do not affect windows around visible pixels.
        x, x_hat = self.masked_x_and_reconstruction(output, batch)
        # x_hat is (B, C, H, W), or (..., B, C, H, W) for several reconstructions of each image.
        leading_shape = x_hat.shape[: x_hat.ndim - self.ndim]
        reconstruction = x_hat.reshape(-1, *x.shape[1:])
        target = at_least_float32(x).to(reconstruction.dtype).expand(x_hat.shape).reshape(reconstruction.shape)
        mask = None
        if batch.mask is not None:
            mask = broadcast_mask(batch.mask, x.ndim).expand_as(x).expand(x_hat.shape).reshape(reconstruction.shape)
        distance = self.mix * self.dissimilarity(reconstruction, target, mask)
        if self.mix < 1:
            distance = distance + (1 - self.mix) / self.span * per_sample((reconstruction - target).abs())
        return distance.reshape(leading_shape)

    def dissimilarity(self, reconstruction: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the dissimilarity ``(B,)`` of images ``(B, C, H, W)``, summed over unmasked pixels and channels."""
        raise NotImplementedError


class StructuralSimilarity(_StructuralLoss):
    """1 - SSIM, summed over pixels and channels (Wang, Bovik, Sheikh & Simoncelli 2004, IEEE Trans. Image Processing).

    The metric ``ssim`` is 1 minus the mean of this over pixels and channels. The window is Gaussian, of 11 x 11 pixels,
    and smaller on smaller images.

    Args:
        shape: Shape of one image, ``(C, H, W)``.
        domain: Domain of x: ``unit``, ``signed`` or ``binary``.
        mix: The weight of 1 - SSIM, in [0, 1]; the rest is the absolute error. 0.84 is usual.
        activation: Bounds the reconstruction; null takes steep_sigmoid for data in [0, 1], tanh for [-1, 1].
    """

    def __init__(self, shape: Shape, domain: Domain, *, mix: float = 1.0, activation: str | None = None) -> None:
        super().__init__("loss ssim", shape, domain, mix, activation)

    def dissimilarity(self, reconstruction: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        dissimilarity = 1 - ssim_maps(reconstruction, x, self.span)[0]
        return per_sample(dissimilarity if mask is None else dissimilarity.masked_fill(~mask, 0))


class MultiScaleSimilarity(_StructuralLoss):
    """1 - MS-SSIM, times the number of pixels and channels (Wang, Simoncelli & Bovik 2003, Asilomar).

    Similarity is computed at up to five scales, each at half the resolution of the one before: as many as the window of
    11 x 11 pixels fits on. These are five from 176 pixels on, two on 28 x 28 pixels, and one below 22 pixels, where the
    loss equals ``ssim``. With fewer scales, the paper's weights of the finest ones are normalised to sum 1.

    Args:
        shape: Shape of one image, ``(C, H, W)``.
        domain: Domain of x: ``unit``, ``signed`` or ``binary``.
        scales: The number of scales, at most 5; null takes as many as fit.
        mix: The weight of 1 - MS-SSIM, in [0, 1]; the rest is the absolute error. 0.84 is usual.
        activation: Bounds the reconstruction; null takes steep_sigmoid for data in [0, 1], tanh for [-1, 1].
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
        super().__init__("loss ms_ssim", shape, domain, mix, activation)
        max_scales = scales_that_fit(shape)
        if scales is not None and not 1 <= scales <= max_scales:
            raise AeframeError(
                f"loss ms_ssim has windows of {WINDOW} pixels, which fit on {shape[1]} x {shape[2]} pixels at "
                f"{max_scales} scale{'s' * (max_scales > 1)}, found scales={scales}; leave it at null"
            )
        weights = SCALE_WEIGHTS[: scales or max_scales]
        self.weights = tuple(weight / sum(weights) for weight in weights)

    def dissimilarity(self, reconstruction: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        num_elements = x[0].numel() if mask is None else mask.flatten(1).sum(1)
        return (1 - ms_ssim(reconstruction, x, self.span, self.weights)) * num_elements
