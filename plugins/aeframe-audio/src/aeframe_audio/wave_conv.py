"""The encoder and the decoder `wave_conv`: strided and transposed 1-d convolutions of waves.

Shapes: B segments of sound (the samples of the batch), C channels, T time samples, `outputs` numbers that the loss
needs for each element of x, such as a mean and a variance. A frame is one position at the lowest rate.
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
    """Strided convolutions and dilated residual units: ``(B, C, T)`` -> ``(B, channels[-1], frames)``.

    The encoder of SoundStream (Zeghidour et al. 2021, arXiv 2107.03312) without layers at the full rate. The number of
    frames is T divided by the product of the strides, rounded up; the wave is zero-padded to full frames. A causal
    encoder can process a stream (`aeframe_audio.streaming`).

    Args:
        shape: ``(C, T)``, or ``(T,)`` for integer classes at T positions.
        domain: Domain of the values.
        channels: Output channels of each stage.
        strides: Stride of each stage.
        kernel: Width of the convolutions in the residual units, odd.
        dilations: Every stage has one residual unit for each of these dilations.
        causal: A frame depends only on its own samples and earlier ones; false pads symmetrically.
        activation: In the residual units and at the end; null uses that of the model.
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
        make_activation = _check_options(
            "encoder wave_conv", channels, strides, kernel, dilations, activation, causal=causal
        )
        # A module that converts a batch to waves (B, C, T); here `positions` is [T].
        self.channels = InputChannels("encoder wave_conv", shape, domain)
        channels_in, *positions = self.channels.shape
        _check_time("encoder wave_conv", positions)
        self.hop, self.causal = math.prod(strides), causal
        self.out_shape = (channels[-1], -(-positions[0] // self.hop))
        layers: list[nn.Module] = []
        for (size_in, size_out), stride in zip(itertools.pairwise((channels_in, *channels)), strides, strict=True):
            layers.append(TimeConv(size_in, size_out, 2 * stride, stride=stride, causal=causal))
            layers += [
                TimeResidual(size_out, kernel, dilation, make_activation, causal=causal) for dilation in dilations
            ]
        self.layers = nn.Sequential(*layers, make_activation())
        # The config of the decoder with the same stages in reverse order.
        self._mirror = {
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
        return self._mirror


class WaveConvDecoder(Decoder):
    """Dilated residual units and transposed convolutions: ``(B, *z_shape)`` -> ``(B, outputs, C, T)``.

    Args:
        z_shape: ``(dim,)``, or ``(dim, frames)``.
        out_shape: ``(outputs, C, T)``, or ``(outputs, T)`` for integer classes at T positions.
        channels: Input channels of each stage, from frames to samples.
        strides: Stride of each stage.
        kernel: Width of the convolutions in the residual units, odd.
        dilations: Every stage has one residual unit for each of these dilations.
        causal: A sample depends only on its own frame and earlier ones; false pads symmetrically.
        activation: In the residual units and before each transposed convolution; null uses that of the model.
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
        make_activation = _check_options(
            "decoder wave_conv", channels, strides, kernel, dilations, activation, causal=causal
        )
        # `channels_out` is outputs * C, and `positions` is (T,).
        channels_out, positions = output_channels("decoder wave_conv", out_shape)
        _check_time("decoder wave_conv", positions)
        self.hop, self.causal, self.out_shape = math.prod(strides), causal, out_shape
        frames = -(-positions[0] // self.hop)
        layers: list[nn.Module] = [
            LatentProjection("decoder wave_conv", z_shape, (channels[0], frames), make_activation, None)
        ]
        for (size_in, size_out), stride in zip(itertools.pairwise((*channels, channels_out)), strides, strict=True):
            layers += [
                TimeResidual(size_in, kernel, dilation, make_activation, causal=causal) for dilation in dilations
            ]
            layers += [make_activation(), TimeUpsample(size_in, size_out, stride, causal=causal)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        output: Tensor = self.layers(z)
        return output[..., : self.out_shape[-1]].reshape(z.shape[0], *self.out_shape)


def _check_options(
    who: str,
    channels: tuple[int, ...],
    strides: tuple[int, ...],
    kernel: int,
    dilations: tuple[int, ...],
    activation: MakeActivation | None,
    *,
    causal: bool,
) -> MakeActivation:
    """Check the options that the encoder and the decoder share, and return the factory of the activation.

    `who` is the name of the network in error messages.
    """
    check_sizes(who, channels, kernel, None)
    if len(strides) != len(channels) or any(stride < 1 for stride in strides):
        raise AeframeError(
            f"{who} requires strides of at least 1, one for each of its {len(channels)} channels, found {list(strides)}"
        )
    if any(dilation < 1 for dilation in dilations):
        raise AeframeError(f"{who} requires dilations of at least 1, found {list(dilations)}")
    # `same_shape` rejects an activation that changes the shape, such as glu.
    make_activation = (activation or MakeActivation.named("relu")).same_shape(who)
    if causal and not make_activation.traits.elementwise:
        raise AeframeError(
            f"{who} with causal=true requires an elementwise activation, found '{make_activation.config['name']}'; "
            "choose another, such as snake"
        )
    return make_activation


def _check_time(who: str, positions: Shape | list[int]) -> None:
    """Raise an error for images and other data with more than one axis of positions."""
    if len(positions) != 1:
        raise AeframeError(
            f"{who} requires data of shape (C, T), found {len(positions)} axes of positions, {tuple(positions)}; "
            f"choose {who.split()[0]}=conv"
        )
