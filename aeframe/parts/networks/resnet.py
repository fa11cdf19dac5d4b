"""Residual convolutions, and the decoder that undoes them.

Shapes: B samples, C channels, ``positions`` (T,), (H, W) or (D, H, W).
"""

from __future__ import annotations

import itertools

from torch import nn

from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import (
    Channels,
    Entrance,
    Norm,
    Residual,
    Upsample,
    check_sizes,
    convolution,
    dense_end,
    halvings,
    normalisation,
    split_output,
)
from aeframe.parts.networks.layered import LayeredDecoder, LayeredEncoder
from aeframe.types import Domain, Shape


class ResNetEncoder(LayeredEncoder):
    """Residual blocks between convolutions of stride 2: ``(B, C, *positions)`` -> ``(B, channels[-1], *smallest)``.

    Each stage takes n positions to ceil(n / 2), of any size, and then has `blocks` residual blocks in which norm and
    activation come first (He et al. 2016, arXiv 1603.05027). Integer classes become one-hot channels.

    Args:
        shape: ``(C, *positions)`` with one to three dimensions of positions; ``(T,)`` for classes.
        domain: Says whether values are classes.
        channels: One number for each stage.
        blocks: Residual blocks in a stage.
        kernel: Width of every convolution, odd.
        activation: In the blocks and at the end; null takes the run's own.
        norm: Before each activation.
        dense: Ends with a dense layer of so many units and an activation: features are then ``(dense,)``.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        channels: tuple[int, ...] = (32, 64),
        blocks: int = 2,
        kernel: int = 3,
        activation: MakeActivation | None = None,
        norm: Norm = "group",
        dense: int | None = None,
    ) -> None:
        check_sizes("encoder resnet", channels, kernel, dense, blocks)
        make = (activation or MakeActivation.named("relu")).same_shape("encoder resnet")
        seen = Channels("encoder resnet", shape, domain)
        channels_in, *positions = seen.shape
        num_dims = len(positions)
        made: list[nn.Module] = []
        for size_in, size_out in itertools.pairwise((channels_in, *channels)):
            made.append(convolution(num_dims, size_in, size_out, kernel, stride=2))
            made += [Residual(num_dims, size_out, kernel, make, norm) for _ in range(blocks)]
        made += [*normalisation(norm, channels[-1]), make()]
        out_shape = (channels[-1], *halvings(tuple(positions), len(channels))[-1])
        if dense is not None:
            made.append(dense_end(out_shape, dense, make))
            out_shape = (dense,)
        mirror = {
            "name": "resnet",
            "channels": tuple(reversed(channels)),
            "blocks": blocks,
            "kernel": kernel,
            "activation": activation,
            "norm": norm,
            "dense": dense,
        }
        super().__init__(seen, made, out_shape, mirror)


class ResNetDecoder(LayeredDecoder):
    """Residual blocks between transposed convolutions: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``, of any size.

    The sizes are those of the encoder, stage by stage from the smallest.

    Args:
        z_shape: ``(dim,)``, or ``(dim, *smallest)``.
        out_shape: ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.
        channels: One number for each stage, from the smallest positions on.
        blocks: Residual blocks in a stage.
        kernel: Width of the convolutions, odd; the transposed ones are one wider.
        activation: In the blocks and before the last stage; null takes the run's own.
        norm: Before each activation.
        dense: Begins with a dense layer of so many units and an activation.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        channels: tuple[int, ...] = (64, 32),
        blocks: int = 2,
        kernel: int = 3,
        activation: MakeActivation | None = None,
        norm: Norm = "group",
        dense: int | None = None,
    ) -> None:
        check_sizes("decoder resnet", channels, kernel, dense, blocks)
        make = (activation or MakeActivation.named("relu")).same_shape("decoder resnet")
        channels_out, positions = split_output("decoder resnet", out_shape)
        *sizes, smallest = halvings(positions, len(channels))
        made: list[nn.Module] = [Entrance("decoder resnet", z_shape, (channels[0], *smallest), make, dense)]
        steps = itertools.pairwise((*channels, channels_out))
        for stage, ((size_in, size_out), size) in enumerate(zip(steps, reversed(sizes), strict=True), start=1):
            made += [Residual(len(positions), size_in, kernel, make, norm) for _ in range(blocks)]
            if stage == len(channels):
                made += [*normalisation(norm, size_in), make()]
            made.append(Upsample(size_in, size_out, size, kernel))
        super().__init__(made, out_shape)
