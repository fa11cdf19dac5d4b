"""Networks that are one sequence of layers over channels at positions.

Shapes: B samples, C channels, ``positions`` (T,), (H, W) or (D, H, W).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.networks.blocks import Channels
from aeframe.types import Batch, Shape


class LayeredEncoder(Encoder):
    """Layers one after the other: ``(B, *shape)`` as channels ``(B, C, *positions)`` -> ``(B, *out_shape)``.

    Args:
        channels: How a batch becomes channels.
        layers: What they go through.
        out_shape: Of the features.
        mirror: The decoder that undoes it, ``{"name": ..., options}``.
    """

    def __init__(self, channels: Channels, layers: list[nn.Module], out_shape: Shape, mirror: dict[str, Any]) -> None:
        super().__init__()
        self.channels, self.out_shape = channels, out_shape
        self.layers = nn.Sequential(*layers)
        self._mirror = mirror

    def forward(self, batch: Batch) -> Tensor:
        x: Tensor = self.channels(batch)
        return self.layers(x.to(next(self.parameters()).dtype))

    def mirror(self) -> dict[str, Any]:
        return self._mirror


class LayeredDecoder(Decoder):
    """Layers one after the other: ``(B, *z_shape)`` -> ``(B, *out_shape)``.

    Args:
        layers: The first takes z; the last gives as many numbers as `out_shape`.
        out_shape: ``(outputs, *shape)``.
    """

    def __init__(self, layers: list[nn.Module], out_shape: Shape) -> None:
        super().__init__()
        self.layers, self.out_shape = nn.Sequential(*layers), out_shape

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        output: Tensor = self.layers(z)
        return output.reshape(z.shape[0], *self.out_shape)
