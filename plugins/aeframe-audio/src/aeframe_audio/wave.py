"""Strided 1-d convolutions from waves to frames, and transposed ones back.

Shapes: B samples, C channels, T samples of time.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.networks.blocks import InputChannels, LatentProjection, check_sizes, output_channels
from aeframe.types import Batch, Domain, Shape
from aeframe_audio.causal import TimeConv, TimeResidual, TimeUpsample


class WaveConvEncoder(Encoder):
    """Strided convolutions with dilated residual units between them: ``(B, C, T)`` -> ``(B, channels[-1], frames)``,
    the encoder of SoundStream (Zeghidour et al. 2021, arXiv 2107.03312) without layers at the full rate.

    Frames are T divided by the product of the strides, rounded up: silence follows where T is no multiple of it. With
    `causal` nothing is seen before its time, so that a sound can be encoded as it comes in (`aeframe_audio.streaming`).

    Args:
        shape: ``(C, T)``; ``(T,)`` for classes.
        domain: Says whether values are classes.
        channels: One number for each stage.
        strides: By how much each stage shortens, as many.
        kernel: Width of the residual units' convolutions, odd.
        dilations: Of the residual units of each stage, one unit for each.
        causal: Sees the past only, not as much of the future.
        activation: In the units and at the end; null takes the run's own.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        channels: tuple[int, ...] = (32, 64, 128),
        strides: tuple[int, ...] = (4, 4, 4),
        kernel: int = 3,
        dilations: tuple[int, ...] = (1, 3),
        causal: bool = True,
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        make = _checked("encoder wave_conv", channels, strides, kernel, dilations, activation, causal=causal)
        self.channels = InputChannels("encoder wave_conv", shape, domain)
        channels_in, *positions = self.channels.shape
        _check_time("encoder wave_conv", positions)
        self.hop, self.causal = math.prod(strides), causal
        self.out_shape = (channels[-1], -(-positions[0] // self.hop))
        made: list[nn.Module] = []
        for (size_in, size_out), stride in zip(itertools.pairwise((channels_in, *channels)), strides, strict=True):
            made.append(TimeConv(size_in, size_out, 2 * stride, stride=stride, causal=causal))
            made += [TimeResidual(size_out, kernel, dilation, make, causal=causal) for dilation in dilations]
        self.layers = nn.Sequential(*made, make())
        self._mirrored_decoder = {
            "name": "wave_conv",
            "channels": tuple(reversed(channels)),
            "strides": tuple(reversed(strides)),
            "kernel": kernel,
            "dilations": dilations,
            "causal": causal,
            "activation": activation,
        }

    def forward(self, batch: Batch) -> Tensor:
        x: Tensor = self.channels(batch).to(next(self.parameters()).dtype)
        return self.layers(F.pad(x, (0, -x.shape[-1] % self.hop)))

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirrored_decoder


class WaveConvDecoder(Decoder):
    """Transposed convolutions with dilated residual units between them: ``(B, *z_shape)`` -> ``(B, outputs, C, T)``.

    Args:
        z_shape: ``(dim,)``, or ``(dim, frames)``.
        out_shape: ``(outputs, C, T)``, or ``(outputs, T)`` for classes.
        channels: One number for each stage, from the frames on.
        strides: By how much each stage lengthens, as many.
        kernel: Width of the residual units' convolutions, odd.
        dilations: Of the residual units of each stage, one unit for each.
        causal: A frame is heard from its own time on, not before.
        activation: In the units and before each stage; null takes the run's own.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        channels: tuple[int, ...] = (128, 64, 32),
        strides: tuple[int, ...] = (4, 4, 4),
        kernel: int = 3,
        dilations: tuple[int, ...] = (1, 3),
        causal: bool = True,
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        make = _checked("decoder wave_conv", channels, strides, kernel, dilations, activation, causal=causal)
        channels_out, positions = output_channels("decoder wave_conv", out_shape)
        _check_time("decoder wave_conv", positions)
        self.hop, self.causal, self.out_shape = math.prod(strides), causal, out_shape
        frames = -(-positions[0] // self.hop)
        made: list[nn.Module] = [LatentProjection("decoder wave_conv", z_shape, (channels[0], frames), make, None)]
        for (size_in, size_out), stride in zip(itertools.pairwise((*channels, channels_out)), strides, strict=True):
            made += [TimeResidual(size_in, kernel, dilation, make, causal=causal) for dilation in dilations]
            made += [make(), TimeUpsample(size_in, size_out, stride, causal=causal)]
        self.layers = nn.Sequential(*made)

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        output: Tensor = self.layers(z)
        return output[..., : self.out_shape[-1]].reshape(z.shape[0], *self.out_shape)


def _checked(
    who: str,
    channels: tuple[int, ...],
    strides: tuple[int, ...],
    kernel: int,
    dilations: tuple[int, ...],
    activation: MakeActivation | None,
    *,
    causal: bool,
) -> MakeActivation:
    check_sizes(who, channels, kernel, None)
    if len(strides) != len(channels) or any(stride < 1 for stride in strides):
        raise AeframeError(
            f"{who} needs strides of at least 1, one for each of its {len(channels)} channels, found {list(strides)}"
        )
    if any(dilation < 1 for dilation in dilations):
        raise AeframeError(f"{who} needs dilations of at least 1, found {list(dilations)}")
    make = (activation or MakeActivation.named("relu")).same_shape(who)
    if causal and not make.traits.elementwise:
        raise AeframeError(
            f"{who} with causal=true needs an activation of each value by itself, '{make.config['name']}' is none; "
            "choose another, such as snake"
        )
    return make


def _check_time(who: str, positions: Shape | list[int]) -> None:
    if len(positions) != 1:
        raise AeframeError(
            f"{who} needs one dimension of positions, (C, T), found {len(positions)} in {tuple(positions)}; "
            f"choose {who.split()[0]}=conv"
        )
