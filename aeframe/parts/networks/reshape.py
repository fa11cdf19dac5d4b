"""A decoder without parameters that only reshapes, for latent spaces that decode by themselves."""

from __future__ import annotations

import math

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Decoder
from aeframe.types import Batch, Shape


class Reshape(Decoder):
    """Reshapes the decoder's input: ``(B, *z_shape)`` -> ``(B, 1, *shape)``.

    It is for sparse dictionaries. The z that they return is a reconstruction of the encoder's features, and these are x
    if the encoder only flattens.
    """

    returns_x = True

    def __init__(self, z_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        if math.prod(z_shape) != math.prod(out_shape):
            raise AeframeError(
                f"decoder reshape needs as many inputs as outputs, found {math.prod(z_shape)} inputs (z and condition) "
                f"and {math.prod(out_shape)} outputs; choose decoder=mlp, which has no such limit"
            )
        if out_shape[0] > 1:
            # One-hot features have the classes in the last dimension, logits in the first: the order would be wrong.
            raise AeframeError(
                f"decoder reshape has one output for each element of x, found a loss that requires {out_shape[0]}; "
                "choose decoder=mlp, which has no such limit"
            )
        self.out_shape = out_shape

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        return z.reshape(z.shape[0], *self.out_shape)
