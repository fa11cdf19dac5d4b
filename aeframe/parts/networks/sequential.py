"""Encoders and decoders that are one sequence of layers over channels at positions.

Shapes: B samples; C channels; ``positions``: the sizes of the spatial axes, (T,), (H, W) or (D, H, W); ``outputs``: the
number of parameters of the likelihood for each element of x.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.networks.blocks import InputChannels
from aeframe.types import Batch, Shape


class SequentialEncoder(Encoder):
    """Layers applied in order: ``(B, *shape)`` as channels ``(B, C, *positions)`` -> ``(B, *out_shape)``.

    Args:
        channels: Converts a batch to channels at positions.
        layers: The layers that map these channels to features.
        out_shape: Shape of one sample's features.
        mirrored_decoder: See `Encoder.mirrored_decoder_config`.
    """

    def __init__(
        self, channels: InputChannels, layers: list[nn.Module], out_shape: Shape, mirrored_decoder: dict[str, Any]
    ) -> None:
        super().__init__()
        self.channels, self.out_shape = channels, out_shape
        self.layers = nn.Sequential(*layers)
        self._mirrored_decoder = mirrored_decoder

    def forward(self, batch: Batch) -> Tensor:
        x: Tensor = self.channels(batch)
        return self.layers(x.to(next(self.parameters()).dtype))

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirrored_decoder


class SequentialDecoder(Decoder):
    """Layers applied in order: ``(B, *z_shape)`` -> ``(B, *out_shape)``.

    Args:
        layers: The layers. The first takes z; the last returns as many numbers as `out_shape` has.
        out_shape: Shape ``(outputs, *shape)`` of one output.
    """

    def __init__(self, layers: list[nn.Module], out_shape: Shape) -> None:
        super().__init__()
        self.layers, self.out_shape = nn.Sequential(*layers), out_shape

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        output: Tensor = self.layers(z)
        return output.reshape(z.shape[0], *self.out_shape)
