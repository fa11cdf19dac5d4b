"""Encoders and decoders in stages of stride 2, which the networks ``conv`` and ``resnet`` share.

Shapes: B samples; C channels; ``positions``: the sizes of the spatial axes, (T,), (H, W) or (D, H, W); ``smallest``:
the sizes after the encoder's last stage; ``outputs``: the number of parameters of the likelihood for each element of x.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from torch import nn

from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import (
    InputChannels,
    LatentProjection,
    Norm,
    check_sizes,
    dense_output,
    halved_sizes,
    norm_layers,
    output_channels,
)
from aeframe.parts.networks.sequential import SequentialDecoder, SequentialEncoder
from aeframe.types import Domain, Shape


@dataclass(frozen=True, slots=True)
class StageOptions:
    """The options that strided encoders and decoders share; each constructor lists them for its users.

    Raises:
        AeframeError: See `check_sizes`; or an activation that changes the shape of its input.
    """

    who: str
    """Kind and name of the network, such as ``encoder conv``."""
    channels: tuple[int, ...]
    """Channels of each stage."""
    kernel: int
    """Width of the convolutions."""
    activation: MakeActivation | None
    """None, which a network outside a model may have, stands for relu."""
    norm: Norm
    dense: int | None
    """Units of the dense layer between the stages and z; None for a network without one."""
    blocks: int | None = None
    """Residual blocks in a stage; None for a network without them."""

    def __post_init__(self) -> None:
        check_sizes(self.who, self.channels, self.kernel, self.dense, 1 if self.blocks is None else self.blocks)

    def make_activation(self) -> MakeActivation:
        """Return the factory of the network's activation."""
        return (self.activation or MakeActivation.named("relu")).same_shape(self.who)

    def mirrored_decoder_config(self) -> dict[str, Any]:
        """Return the config of the decoder of the same name, with the stages in reverse order."""
        config: dict[str, Any] = {
            "name": self.who.split()[1],
            "channels": tuple(reversed(self.channels)),
            "kernel": self.kernel,
            "activation": self.activation,
            "norm": self.norm,
            "dense": self.dense,
        }
        return config if self.blocks is None else config | {"blocks": self.blocks}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a network: an axis of n positions is mapped to ceil(n / 2) in an encoder, and back in a decoder."""

    options: StageOptions
    make_activation: MakeActivation
    channels_in: int
    channels_out: int
    size: Shape
    """The larger sizes of the spatial axes: those before a stage of an encoder, or after a stage of a decoder."""
    is_last: bool

    def norm_and_activation(self, channels: int) -> list[nn.Module]:
        """Return the norm, if there is one, and the activation of a layer of `channels`."""
        return [*norm_layers(self.options.norm, channels), self.make_activation()]


class StridedEncoder(SequentialEncoder):
    """Stages of stride 2, and perhaps a dense layer: ``(B, C, *positions)`` -> ``(B, *out_shape)``."""

    def __init__(self, shape: Shape, domain: Domain, options: StageOptions) -> None:
        make_activation = options.make_activation()
        channels = InputChannels(options.who, shape, domain)
        channels_in, *positions = channels.shape
        *sizes, smallest = halved_sizes(tuple(positions), len(options.channels))
        layers: list[nn.Module] = []
        channel_pairs = itertools.pairwise((channels_in, *options.channels))
        for number, ((before, after), size) in enumerate(zip(channel_pairs, sizes, strict=True), start=1):
            is_last = number == len(options.channels)
            layers += self.stage_layers(Stage(options, make_activation, before, after, size, is_last))
        out_shape = (options.channels[-1], *smallest)
        if options.dense is not None:
            layers.append(dense_output(out_shape, options.dense, make_activation))
            out_shape = (options.dense,)
        super().__init__(channels, layers, out_shape, options.mirrored_decoder_config())

    def stage_layers(self, stage: Stage) -> list[nn.Module]:
        """Return the layers of one stage. The constructor calls this before any attribute is set."""
        raise NotImplementedError


class StridedDecoder(SequentialDecoder):
    """Stages of stride 2 back to the sizes of x: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``, for any sizes."""

    def __init__(self, z_shape: Shape, out_shape: Shape, options: StageOptions) -> None:
        make_activation = options.make_activation()
        channels_out, positions = output_channels(options.who, out_shape)
        *sizes, smallest = halved_sizes(positions, len(options.channels))
        shape = (options.channels[0], *smallest)
        layers: list[nn.Module] = [LatentProjection(options.who, z_shape, shape, make_activation, options.dense)]
        channel_pairs = itertools.pairwise((*options.channels, channels_out))
        for number, ((before, after), size) in enumerate(zip(channel_pairs, reversed(sizes), strict=True), start=1):
            is_last = number == len(options.channels)
            layers += self.stage_layers(Stage(options, make_activation, before, after, size, is_last))
        super().__init__(layers, out_shape)

    def stage_layers(self, stage: Stage) -> list[nn.Module]:
        """Return the layers of one stage. The constructor calls this before any attribute is set."""
        raise NotImplementedError
