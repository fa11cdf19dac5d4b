"""Dense layers on the flattened sample.

Shapes: B samples, D numbers of a flattened sample, H hidden units.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Domain, Shape


def layers(sizes: list[int], activation: MakeActivation | None, *, norm: bool, dropout: float) -> nn.Sequential:
    """Return Linear [LayerNorm] activation [Dropout] for each step from one size to the next."""
    make = (activation or MakeActivation.named("relu")).same_shape("mlp")
    made: list[nn.Module] = []
    for size_in, size_out in itertools.pairwise(sizes):
        made.append(nn.Linear(size_in, size_out))
        if norm:
            made.append(nn.LayerNorm(size_out))
        made.append(make())
        if dropout:
            made.append(nn.Dropout(dropout))
    return nn.Sequential(*made)


class MLPEncoder(Encoder):
    """Dense layers: ``(B, *shape)`` -> ``(B, hidden[-1])``. With ``hidden: []`` it only flattens.

    Integer classes (`Domain` ``category``) become one-hot vectors first.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        hidden: tuple[int, ...] = (512, 256),
        activation: MakeActivation | None = None,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if any(size < 1 for size in hidden):
            raise AeframeError(f"encoder mlp needs hidden sizes of at least 1, found {list(hidden)}")
        self.classes = domain.classes
        size = math.prod(shape) * (domain.classes or 1)
        self.layers = layers([size, *hidden], activation, norm=norm, dropout=dropout)
        self.out_shape = (hidden[-1] if hidden else size,)
        self._mirrored_decoder = {
            "name": "mlp",
            "hidden": tuple(reversed(hidden)),
            "activation": activation,
            "norm": norm,
            "dropout": dropout,
        }

    def forward(self, batch: Batch) -> Tensor:
        x = batch.masked_x()
        if self.classes is not None:
            x = nn.functional.one_hot(x.long(), self.classes)
            x = x if batch.mask is None else x * broadcast_mask(batch.mask, x.ndim)
        features: Tensor = self.layers(
            x.flatten(1).to(next(self.parameters(), x if x.is_floating_point() else x.float()).dtype)
        )
        return features

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirrored_decoder


class MLPDecoder(Decoder):
    """Dense layers: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``, the last one with no activation."""

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        hidden: tuple[int, ...] = (256, 512),
        activation: MakeActivation | None = None,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = [math.prod(z_shape), *hidden]
        self.layers = layers(sizes, activation, norm=norm, dropout=dropout)
        self.last = nn.Linear(sizes[-1], math.prod(out_shape))
        self.out_shape = out_shape

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        output: Tensor = self.last(self.layers(z.flatten(1)))
        return output.unflatten(1, self.out_shape)
