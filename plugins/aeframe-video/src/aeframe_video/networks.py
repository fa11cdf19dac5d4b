"""The encoder and the decoder `video_conv`: convolutional networks on clips.

Shapes: B clips (the samples of the batch), C channels, T frames, H x W pixels, `outputs` numbers that the loss needs
for each element of x (such as a mean and a variance), `smallest` frames, height and width after all stages.
"""

from __future__ import annotations

import itertools

from torch import nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import (
    InputChannels,
    LatentProjection,
    Norm,
    check_sizes,
    dense_output,
    output_channels,
)
from aeframe.parts.networks.sequential import SequentialDecoder, SequentialEncoder
from aeframe.types import Domain, Shape
from aeframe_video.blocks import ConvOptions, Form, ResidualBlock, resolve_time_strides, stage_sizes

_NUM_DIMS = 3
"""Time, height and width."""


class VideoConvEncoder(SequentialEncoder):
    """Strided convolutions of clips of any size: ``(B, C, T, H, W)`` -> ``(B, channels[-1], *smallest)``.

    Each stage maps n pixels to ceil(n / 2), and T frames to ceil(T / time stride). The matching decoder has the same
    name.

    Args:
        shape: ``(C, T, H, W)``; C includes the channels of a condition.
        domain: Domain of the values.
        channels: Output channels of each stage.
        time_strides: 1 or 2 for each stage; null is 2 for all stages, or 1 with ``time_kernel=1``.
        kernel: Width of the convolutions in space, odd.
        time_kernel: Width of the convolutions in time, odd; 1 processes each frame separately.
        form: ``3d``, or ``2+1d``: a convolution over space and then one over time, with an activation in between.
        causal: A code (one time of the features) depends only on its own frames and earlier ones. Its own frames are a
            group of as many frames as the product of all time strides.
        blocks: Residual blocks after the last stage, which extend the receptive field at low cost.
        activation: Activation after each stage; null uses that of the model.
        norm: Normalisation before each activation; a causal network normalises each frame separately.
        dense: Units of a dense layer with an activation at the end, for features ``(dense,)``; null omits it.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        channels: tuple[int, ...] = (16, 32),
        time_strides: tuple[int, ...] | None = None,
        kernel: int = 3,
        time_kernel: int = 3,
        form: Form = "2+1d",
        causal: bool = False,
        blocks: int = 0,
        activation: MakeActivation | None = None,
        norm: Norm = "none",
        dense: int | None = None,
    ) -> None:
        check_sizes("encoder video_conv", channels, kernel, dense)
        _check_clips("encoder video_conv", shape[1:], shape)
        _check_blocks("encoder video_conv", blocks)
        strides = resolve_time_strides("encoder video_conv", time_strides, len(channels), time_kernel)
        # `same_shape` rejects an activation that changes the shape, such as glu.
        make_activation = (activation or MakeActivation.named("relu")).same_shape("encoder video_conv")
        options = ConvOptions(form, kernel, time_kernel, causal, norm, make_activation)
        # A module that converts a batch to clips (B, C, T, H, W); here `positions` is [T, H, W].
        inputs = InputChannels("encoder video_conv", shape, domain)
        channels_in, *positions = inputs.shape
        layers: list[nn.Module] = []
        for (size_in, size_out), stride in zip(itertools.pairwise((channels_in, *channels)), strides, strict=True):
            layers += [options.convolution(size_in, size_out, stride, 2), *options.norm_and_activation(size_out)]
        layers += [ResidualBlock(channels[-1], options) for _ in range(blocks)]
        out_shape = (channels[-1], *stage_sizes(tuple(positions), strides)[-1])
        if dense is not None:
            layers.append(dense_output(out_shape, dense, make_activation))
            out_shape = (dense,)
        # The config of the decoder with the same stages in reverse order.
        mirror = {
            "name": "video_conv",
            "channels": tuple(reversed(channels)),
            "time_strides": tuple(reversed(strides)),
            "kernel": kernel,
            "time_kernel": time_kernel,
            "form": form,
            "causal": causal,
            "blocks": blocks,
            "activation": activation,
            "norm": norm,
            "dense": dense,
        }
        super().__init__(inputs, layers, out_shape, mirror)


class VideoConvDecoder(SequentialDecoder):
    """Transposed convolutions to clips of any size: ``(B, *z_shape)`` -> ``(B, outputs, C, T, H, W)``.

    Sizes are those of the encoder in reverse order. The last stage has no activation.

    Args:
        z_shape: ``(dim,)``, or ``(dim, *smallest)``.
        out_shape: ``(outputs, C, T, H, W)``.
        channels: Input channels of each stage, from the smallest size on.
        time_strides: 1 or 2 for each stage; null is 2 for all stages, or 1 with ``time_kernel=1``.
        kernel: Width in space of the encoder's convolutions, odd; those of the decoder are wider by one.
        time_kernel: Width of the convolutions in time, odd; those with a time stride of 2 are wider by one. 1 processes
            each frame separately.
        form: ``3d``, or ``2+1d``: a convolution over time and then one over space, with an activation in between.
        causal: A frame depends only on its own code and earlier ones.
        blocks: Residual blocks before the first stage.
        activation: Activation before each stage; null uses that of the model.
        norm: Normalisation before each activation; a causal network normalises each frame separately.
        dense: Units of a dense layer with an activation at the start; null omits it.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        channels: tuple[int, ...] = (32, 16),
        time_strides: tuple[int, ...] | None = None,
        kernel: int = 3,
        time_kernel: int = 3,
        form: Form = "2+1d",
        causal: bool = False,
        blocks: int = 0,
        activation: MakeActivation | None = None,
        norm: Norm = "none",
        dense: int | None = None,
    ) -> None:
        check_sizes("decoder video_conv", channels, kernel, dense)
        _check_blocks("decoder video_conv", blocks)
        strides = resolve_time_strides("decoder video_conv", time_strides, len(channels), time_kernel)
        # `same_shape` rejects an activation that changes the shape, such as glu.
        make_activation = (activation or MakeActivation.named("relu")).same_shape("decoder video_conv")
        # `channels_out` is outputs * C, and `positions` is (T, H, W).
        channels_out, positions = output_channels("decoder video_conv", out_shape)
        _check_clips("decoder video_conv", positions, out_shape)
        options = ConvOptions(form, kernel, time_kernel, causal, norm, make_activation)
        *sizes, smallest = stage_sizes(positions, tuple(reversed(strides)))
        layers: list[nn.Module] = [
            LatentProjection("decoder video_conv", z_shape, (channels[0], *smallest), make_activation, dense)
        ]
        layers += [ResidualBlock(channels[0], options) for _ in range(blocks)]
        steps = zip(itertools.pairwise((*channels, channels_out)), strides, reversed(sizes), strict=True)
        for (size_in, size_out), stride, size in steps:
            layers += [*options.norm_and_activation(size_in), options.upsampling(size_in, size_out, stride, size)]
        super().__init__(layers, out_shape)


def _check_clips(who: str, positions: Shape, shape: Shape) -> None:
    """Raise an error unless there are three dimensions of positions; `who` is the name of the network in it."""
    if len(positions) != _NUM_DIMS:
        raise AeframeError(
            f"{who} requires clips (C, T, H, W), found the shape {shape}; choose {who.split()[0]}=conv or mlp"
        )


def _check_blocks(who: str, blocks: int) -> None:
    if blocks < 0:
        raise AeframeError(f"{who} requires blocks of at least 0, found {blocks}")
