"""The squared error of patches, each measured by its own mean and variance."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.parts.losses.base import Loss, heads
from aeframe.parts.patches import Patch, patch_grid, positions_of
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch, Domain, Shape

# Below it a patch has no contrast to speak of.
_MIN_VARIANCE = 1e-6


class PatchSquaredError(Loss):
    """((x - x_hat) / s)^2 with s the standard deviation of x within its own patch, all channels together.

    The decoder says what a patch looks like once its mean is taken away and its contrast set to one, which made for
    better features in masked autoencoders (He et al. 2022, arXiv 2111.06377, `norm_pix_loss` of their code). Beside an
    x the reconstruction is in the data's own values, by the mean and s of the very patches that it shows: metrics and
    pictures have then been told these two, and flatter the model. Where something new is decoded there is no such
    patch, and values stay in units of s around 0: for samples that can be looked at take loss=mse. A patch of which
    the mask hides a part goes by the rest; s^2 is the unbiased variance and 1e-6, as theirs.
    """

    domains = frozenset({"real", "unit", "signed"})
    unit = "distance"

    def __init__(self, shape: Shape, domain: Domain, *, patch: Patch = 4) -> None:
        super().__init__()
        positions = positions_of("loss patch_mse", shape, domain, "loss=mse")
        self.grid, self.patch = patch_grid("loss patch_mse", positions, patch)
        self.ndim = len(shape)

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        lead = output.ndim - batch.x.ndim
        mask = None if batch.mask is None else broadcast_mask(batch.mask, batch.x.ndim)
        elements = self._compare(at_least_float32(output), batch.masked_x(), mask)
        return per_sample(elements if mask is None else torch.where(mask, elements, 0.0), lead)

    def postprocess(self, output: Tensor, batch: Batch | None, condition: Tensor | None = None) -> Tensor:
        if batch is None:
            return output
        mask = None if batch.mask is None else broadcast_mask(batch.mask, batch.x.ndim)
        mean, scale = self._patches(batch.masked_x(), mask)
        return torch.addcmul(mean.unsqueeze(1), scale.unsqueeze(1), at_least_float32(output))

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        return self._compare(output, x, None)

    def mean(self, output: Tensor) -> Tensor:
        return heads(at_least_float32(output), self.ndim)[0]

    def _compare(self, output: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        _, scale = self._patches(x, mask)
        return ((self.mean(output) - x.to(output.dtype)) / scale).square()

    def _patches(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation at each element: those of its patch, ``(B, *shape)`` each."""
        pairs = zip(self.grid, self.patch, strict=True)
        cut = (*x.shape[:2], *(size for pair in pairs for size in pair))
        within = (1, *range(3, len(cut), 2))
        counted = torch.ones_like(x) if mask is None else mask.expand_as(x)
        pieces, counted = at_least_float32(x).reshape(cut), counted.reshape(cut)
        # x is 0 where the mask hides it, so that it adds nothing to the mean.
        num = counted.sum(within, keepdim=True)
        mean = pieces.sum(within, keepdim=True) / num.clamp(min=1)
        variance = ((pieces - mean).square() * counted).sum(within, keepdim=True) / (num - 1).clamp(min=1)
        scale = (variance + _MIN_VARIANCE).sqrt()
        return mean.expand(cut).reshape(x.shape), scale.expand(cut).reshape(x.shape)
