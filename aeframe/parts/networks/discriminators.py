"""Networks of discriminators, with a logit for each patch of a sample.

Shapes: B samples; C channels; ``positions``: the sizes of the spatial axes, (T,), (H, W) or (D, H, W); P patches of a
sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import halved_sizes
from aeframe.parts.networks.features import MakeEncoder, stages
from aeframe.parts.networks.head import Head
from aeframe.tensors import at_least_float32
from aeframe.types import Batch, DataSpec


class PatchDiscriminator(nn.Module):
    """A classifier of patches with a logit each (PatchGAN: Isola et al. 2017, arXiv 1611.07004).

    Its body is an encoder, followed by a linear head at each position of the features. A patch is the receptive field
    of a position; flat features have one logit for the whole sample.

    Args:
        spec: Shape and domain of the data.
        make_encoder: Builds the body for a shape and domain of data.
        activation: Activation of the body, unless the config of `make_encoder` names another.
        scales: Number of networks; each receives x at half the resolution of the one before (pix2pixHD: Wang et al.
            2018, arXiv 1711.11585).

    Raises:
        AeframeError: Fewer than one scale, or several for flat data.
    """

    def __init__(
        self, spec: DataSpec, make_encoder: MakeEncoder, activation: MakeActivation, *, scales: int = 1
    ) -> None:
        super().__init__()
        channels, *positions = spec.shape
        if scales < 1 or (scales > 1 and not positions):
            raise AeframeError(
                f"a discriminator needs scales of at least 1, and exactly 1 for flat data, "
                f"found {scales} for shape {spec.shape}"
            )
        self.sizes = halved_sizes(tuple(positions), scales - 1)
        bodies = [make_encoder(replace(spec, shape=(channels, *size)), activation) for size in self.sizes]
        self.bodies = nn.ModuleList(bodies)
        self.heads = nn.ModuleList(Head(body.out_shape, 1, spatial=True) for body in bodies)

    def forward(self, batch: Batch) -> list[Tensor]:
        """Return the logits ``(B, P)`` of each scale."""
        networks = zip(self.heads, self.bodies, self._resized(batch), strict=True)
        return [at_least_float32(head(body(resized))).flatten(1) for head, body, resized in networks]

    def features(self, batch: Batch) -> list[Tensor]:
        """Return the features after each stage of each scale: ``(B, C, *positions)``."""
        return [
            at_least_float32(features)
            for body, resized in zip(self.bodies, self._resized(batch), strict=True)
            for features in stages(body, resized)  # type: ignore[arg-type]
        ]

    def _resized(self, batch: Batch) -> Iterator[Batch]:
        """Yield the batch at the resolution of each scale."""
        yield batch
        for size in self.sizes[1:]:
            # "area" averages, in one to three dimensions; "bilinear" and the like are for one number of dimensions.
            yield Batch(F.interpolate(batch.masked_x().to(torch.get_default_dtype()), size=size, mode="area"))


def mean_over_patches(function: Callable[[Tensor], Tensor], logits: list[Tensor]) -> Tensor:
    """Return ``(B,)``: a function of the logits, averaged over the patches of each scale and then over scales."""
    return torch.stack([function(at_scale).mean(1) for at_scale in logits]).mean(0)
