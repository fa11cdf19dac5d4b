"""Convolutions of clips, and the transposed ones that undo them.

Shapes: B samples, C channels, T frames, H x W pixels.
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
from aeframe_video.blocks import Form, Residual, Style, sizes_of, time_strides_of

_DIMS = 3
"""Of positions: time, height and width."""


class VideoConvEncoder(SequentialEncoder):
    """Strided convolutions of clips: ``(B, C, T, H, W)`` -> ``(B, channels[-1], *smallest)``, of any size.

    Each stage takes n pixels to ceil(n / 2), and T frames to ceil(T / stride). Its mirror image is the decoder of the
    same name.

    Args:
        shape: ``(C, T, H, W)``, with condition channels where the encoder sees them.
        domain: Says whether values are classes.
        channels: One number for each stage.
        time_strides: 1 or 2 for each stage; null is 2 for all, or 1 where `time_kernel` is.
        kernel: Width in space, odd.
        time_kernel: Width in time, odd; 1 looks at each frame by itself.
        form: ``3d`` convolutions, or ``2+1d``: over space and then over time, with an activation in between.
        causal: No frame sees a later one: a code is known once the frames it stands for are there, and what comes
            later does not change it. In chunks of as many frames as all strides in time make together.
        blocks: Residual blocks after the last stage, where they cost little and let far frames meet.
        activation: After each stage; null takes the run's own.
        norm: Before each activation; of each frame by itself where `causal`.
        dense: Ends with a dense layer of so many units and an activation: features are then ``(dense,)``.
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
        check_clips("encoder video_conv", shape[1:], shape)
        check_blocks("encoder video_conv", blocks)
        strides = time_strides_of("encoder video_conv", time_strides, len(channels), time_kernel)
        make = (activation or MakeActivation.named("relu")).same_shape("encoder video_conv")
        style = Style(form, kernel, time_kernel, causal, norm, make)
        seen = InputChannels("encoder video_conv", shape, domain)
        channels_in, *positions = seen.shape
        made: list[nn.Module] = []
        for (size_in, size_out), stride in zip(itertools.pairwise((channels_in, *channels)), strides, strict=True):
            made += [style.convolution(size_in, size_out, stride, 2), *style.normalised(size_out)]
        made += [Residual(channels[-1], style) for _ in range(blocks)]
        out_shape = (channels[-1], *sizes_of(tuple(positions), strides)[-1])
        if dense is not None:
            made.append(dense_output(out_shape, dense, make))
            out_shape = (dense,)
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
        super().__init__(seen, made, out_shape, mirror)


class VideoConvDecoder(SequentialDecoder):
    """Transposed convolutions of clips: ``(B, *z_shape)`` -> ``(B, outputs, C, T, H, W)``, of any size.

    The sizes are those of the encoder, stage by stage from the smallest. The last stage has no activation.

    Args:
        z_shape: ``(dim,)``, or ``(dim, *smallest)``.
        out_shape: ``(outputs, C, T, H, W)``.
        channels: One number for each stage, from the smallest positions on.
        time_strides: 1 or 2 for each stage; null is 2 for all, or 1 where `time_kernel` is.
        kernel: Width of the encoder's convolutions in space, odd; those here are one wider.
        time_kernel: Width in time, odd, and one more where the stride is 2; 1 makes each frame by itself.
        form: ``3d``, or ``2+1d``: over time and then over space.
        causal: No frame is made of codes that stand for later ones.
        blocks: Residual blocks before the first stage.
        activation: Before each stage; null takes the run's own.
        norm: Before each activation; of each frame by itself where `causal`.
        dense: Begins with a dense layer of so many units and an activation.
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
        check_blocks("decoder video_conv", blocks)
        strides = time_strides_of("decoder video_conv", time_strides, len(channels), time_kernel)
        make = (activation or MakeActivation.named("relu")).same_shape("decoder video_conv")
        channels_out, positions = output_channels("decoder video_conv", out_shape)
        check_clips("decoder video_conv", positions, out_shape)
        style = Style(form, kernel, time_kernel, causal, norm, make)
        *sizes, smallest = sizes_of(positions, tuple(reversed(strides)))
        made: list[nn.Module] = [LatentProjection("decoder video_conv", z_shape, (channels[0], *smallest), make, dense)]
        made += [Residual(channels[0], style) for _ in range(blocks)]
        steps = zip(itertools.pairwise((*channels, channels_out)), strides, reversed(sizes), strict=True)
        for (size_in, size_out), stride, size in steps:
            made += [*style.normalised(size_in), style.upsampling(size_in, size_out, stride, size)]
        super().__init__(made, out_shape)


def check_clips(who: str, positions: Shape, shape: Shape) -> None:
    """Refuse anything but clips."""
    if len(positions) != _DIMS:
        raise AeframeError(
            f"{who} needs clips (C, T, H, W), found the shape {shape}; choose {who.split()[0]}=conv or mlp"
        )


def check_blocks(who: str, blocks: int) -> None:
    """Refuse fewer blocks than none."""
    if blocks < 0:
        raise AeframeError(f"{who} needs blocks of at least 0, found {blocks}")
