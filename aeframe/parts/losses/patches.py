"""The squared error of patches that are normalised by their mean and standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.parts.losses.base import Loss, split_outputs
from aeframe.parts.patches import Patch, patch_grid, positions_of
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch, Domain, Shape

# Variances are increased by this, so that a constant patch can be divided by its standard deviation.
_MIN_VARIANCE = 1e-6


class PatchSquaredError(Loss):
    """((x - x_hat) / s)^2 with the standard deviation s of x in its patch, over all channels.

    The decoder predicts normalised patches, which improves the features of masked autoencoders (He et al. 2022, arXiv
    2111.06377, `norm_pix_loss` of their code). Reconstructions are mapped back to the units of x with the mean and s of
    the true patch, so metrics and pictures look better than the model is. New samples have no true patch and stay
    normalised; choose loss=mse if new samples matter. In a partly masked patch, mean and s are those of its unmasked
    elements. s^2 is the unbiased variance plus 1e-6, as in the paper's code.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take.
        patch: Positions of a patch along each dimension, or one number for all; it must divide them.
    """

    domains = frozenset({"real", "unit", "signed"})
    unit = "distance"

    def __init__(self, shape: Shape, domain: Domain, *, patch: Patch = 4) -> None:
        super().__init__()
        positions = positions_of("loss patch_mse", shape, domain, "loss=mse")
        self.grid, self.patch = patch_grid("loss patch_mse", positions, patch)
        self.ndim = len(shape)

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        # The number of dimensions before the shape of a sample: 1, or 2 with importance samples.
        lead = output.ndim - batch.x.ndim
        mask = None if batch.mask is None else broadcast_mask(batch.mask, batch.x.ndim)
        elements = self._compare(at_least_float32(output), batch.masked_x(), mask)
        return per_sample(elements if mask is None else torch.where(mask, elements, 0.0), lead)

    def postprocess(self, output: Tensor, batch: Batch | None, condition: Tensor | None = None) -> Tensor:
        if batch is None:
            return output
        mask = None if batch.mask is None else broadcast_mask(batch.mask, batch.x.ndim)
        mean, scale = self._patch_statistics(batch.masked_x(), mask)
        return torch.addcmul(mean.unsqueeze(1), scale.unsqueeze(1), at_least_float32(output))

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        return self._compare(output, x, None)

    def mean(self, output: Tensor) -> Tensor:
        return split_outputs(at_least_float32(output), self.ndim)[0]

    def _compare(self, output: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        _, scale = self._patch_statistics(x, mask)
        return ((self.mean(output) - x.to(output.dtype)) / scale).square()

    def _patch_statistics(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation of each element's patch, ``(B, *shape)`` each."""
        # Split each spatial axis in two: (B, C, n1, p1, n2, p2, ...) for n patches of p positions along each.
        pairs = zip(self.grid, self.patch, strict=True)
        split_shape = (*x.shape[:2], *(size for pair in pairs for size in pair))
        patch_dims = (1, *range(3, len(split_shape), 2))
        unmasked = torch.ones_like(x) if mask is None else mask.expand_as(x)
        patches, unmasked = at_least_float32(x).reshape(split_shape), unmasked.reshape(split_shape)
        # Masked x are 0 and add nothing to the mean.
        num = unmasked.sum(patch_dims, keepdim=True)
        mean = patches.sum(patch_dims, keepdim=True) / num.clamp(min=1)
        variance = ((patches - mean).square() * unmasked).sum(patch_dims, keepdim=True) / (num - 1).clamp(min=1)
        scale = (variance + _MIN_VARIANCE).sqrt()
        return mean.expand(split_shape).reshape(x.shape), scale.expand(split_shape).reshape(x.shape)
