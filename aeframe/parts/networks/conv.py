"""Strided convolutions, and the transposed ones that undo them.

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


class ConvEncoder(LayeredEncoder):
    """Convolutions of stride 2: ``(B, C, *positions)`` -> ``(B, channels[-1], *smallest)``, of any size.

    Each stage takes n positions to ceil(n / 2). Integer classes (`Domain` ``category``) become one-hot channels.
    Weights begin as torch draws them: networks this shallow train from there with every activation.

    Args:
        shape: ``(C, *positions)`` with one to three dimensions of positions; ``(T,)`` for classes.
        domain: Says whether values are classes.
        channels: One number for each stage.
        kernel: Width of every convolution, odd.
        activation: After each stage; null takes the run's own.
        norm: Before each activation.
        dense: Ends with a dense layer of so many units and an activation: features are then ``(dense,)``.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        channels: tuple[int, ...] = (32, 64),
        kernel: int = 3,
        activation: MakeActivation | None = None,
        norm: Norm = "none",
        dense: int | None = None,
    ) -> None:
        check_sizes("encoder conv", channels, kernel, dense)
        make = (activation or MakeActivation.named("relu")).same_shape("encoder conv")
        seen = Channels("encoder conv", shape, domain)
        channels_in, *positions = seen.shape
        made: list[nn.Module] = []
        for size_in, size_out in itertools.pairwise((channels_in, *channels)):
            made += [convolution(len(positions), size_in, size_out, kernel, stride=2)]
            made += [*normalisation(norm, size_out), make()]
        out_shape = (channels[-1], *halvings(tuple(positions), len(channels))[-1])
        if dense is not None:
            made.append(dense_end(out_shape, dense, make))
            out_shape = (dense,)
        mirror = {
            "name": "conv",
            "channels": tuple(reversed(channels)),
            "kernel": kernel,
            "activation": activation,
            "norm": norm,
            "dense": dense,
        }
        super().__init__(seen, made, out_shape, mirror)


class ConvDecoder(LayeredDecoder):
    """Transposed convolutions of stride 2: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``, of any size.

    The sizes are those of the encoder, stage by stage from the smallest. The last stage has no activation.

    Args:
        z_shape: ``(dim,)``, or ``(dim, *smallest)``.
        out_shape: ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.
        channels: One number for each stage, from the smallest positions on.
        kernel: Width of the encoder's convolutions, odd; those here are one wider.
        activation: Before each stage; null takes the run's own.
        norm: Before each activation.
        dense: Begins with a dense layer of so many units and an activation.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        channels: tuple[int, ...] = (64, 32),
        kernel: int = 3,
        activation: MakeActivation | None = None,
        norm: Norm = "none",
        dense: int | None = None,
    ) -> None:
        check_sizes("decoder conv", channels, kernel, dense)
        make = (activation or MakeActivation.named("relu")).same_shape("decoder conv")
        channels_out, positions = split_output("decoder conv", out_shape)
        *sizes, smallest = halvings(positions, len(channels))
        made: list[nn.Module] = [Entrance("decoder conv", z_shape, (channels[0], *smallest), make, dense)]
        steps = itertools.pairwise((*channels, channels_out))
        for (size_in, size_out), size in zip(steps, reversed(sizes), strict=True):
            made += [*normalisation(norm, size_in), make(), Upsample(size_in, size_out, size, kernel)]
        super().__init__(made, out_shape)
