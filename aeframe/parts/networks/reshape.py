"""The decoder that changes nothing but the shape, for a latent that decodes by itself."""

from __future__ import annotations

import math

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Decoder
from aeframe.types import Batch, Shape


class Reshape(Decoder):
    """``(B, *z_shape)`` -> ``(B, 1, *shape)``, number by number.

    What a sparse dictionary reads out of z is its features' own size already: x's, when the encoder only flattens.
    """

    def __init__(self, z_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        if math.prod(z_shape) != math.prod(out_shape):
            raise AeframeError(
                f"decoder reshape changes nothing but the shape: it is given {math.prod(z_shape)} numbers (z and the "
                f"condition), and the loss asks for {math.prod(out_shape)}; choose decoder=mlp, which fits any"
            )
        if out_shape[0] > 1:
            # One-hot features hold the classes of an element side by side, logits hold them first: as many numbers, but
            # others.
            raise AeframeError(
                f"decoder reshape gives one number for each element of x, and the loss asks for {out_shape[0]}; choose "
                "decoder=mlp, which fits any"
            )
        self.out_shape = out_shape

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        return z.reshape(len(z), *self.out_shape)
