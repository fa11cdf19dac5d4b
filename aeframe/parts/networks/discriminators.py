"""Networks that tell data from reconstructions, patch by patch.

Shapes: B samples, C channels, ``positions`` (T,), (H, W) or (D, H, W), P patches of a sample.
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
    """A logit for each patch of a sample that it is of the data (PatchGAN: Isola et al. 2017, arXiv 1611.07004).

    The body is an encoder; a patch is what one position of its features sees. Flat features give one logit.

    Args:
        spec: Of the data.
        make: The encoder.
        activation: For an encoder that has none of its own.
        scales: Networks, each for x at half the positions of the one before (pix2pixHD: Wang et al. 2018,
            arXiv 1711.11585).
    """

    def __init__(self, spec: DataSpec, make: MakeEncoder, activation: MakeActivation, *, scales: int = 1) -> None:
        super().__init__()
        channels, *positions = spec.shape
        if scales < 1 or (scales > 1 and not positions):
            raise AeframeError(
                f"a discriminator needs scales of at least 1, and of 1 for flat data, "
                f"found {scales} for shape {spec.shape}"
            )
        self.sizes = halved_sizes(tuple(positions), scales - 1)
        bodies = [make(replace(spec, shape=(channels, *size)), activation) for size in self.sizes]
        self.bodies = nn.ModuleList(bodies)
        self.heads = nn.ModuleList(Head(body.out_shape, 1, spatial=True) for body in bodies)

    def forward(self, batch: Batch) -> list[Tensor]:
        """Return ``(B, P)`` for each scale."""
        seen = zip(self.heads, self.bodies, self._scaled(batch), strict=True)
        return [at_least_float32(head(body(at_scale))).flatten(1) for head, body, at_scale in seen]

    def features(self, batch: Batch) -> list[Tensor]:
        """Return the features after each stage of each scale: ``(B, C, *positions)``."""
        return [
            at_least_float32(found)
            for body, at_scale in zip(self.bodies, self._scaled(batch), strict=True)
            for found in stages(body, at_scale)  # type: ignore[arg-type]
        ]

    def _scaled(self, batch: Batch) -> Iterator[Batch]:
        yield batch
        for size in self.sizes[1:]:
            # "area" is the mean over what falls together, in any number of dimensions.
            yield Batch(F.interpolate(batch.masked_x().to(torch.get_default_dtype()), size=size, mode="area"))


def by_sample(function: Callable[[Tensor], Tensor], logits: list[Tensor]) -> Tensor:
    """Return ``(B,)``: the mean of a function of the logits over patches, and then over scales."""
    return torch.stack([function(each).mean(1) for each in logits]).mean(0)
