"""Strided convolutions, and transposed convolutions as their decoder.

Shapes: B samples; C channels; ``positions``: the sizes of the spatial axes, (T,), (H, W) or (D, H, W); ``smallest``:
the sizes after the encoder's last stage; ``outputs``: the number of parameters of the likelihood for each element of x.
"""

from __future__ import annotations

from torch import nn

from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import Norm, Upsample, convolution
from aeframe.parts.networks.strided import Stage, StageOptions, StridedDecoder, StridedEncoder
from aeframe.types import Domain, Shape


class ConvEncoder(StridedEncoder):
    """Convolutions of stride 2: ``(B, C, *positions)`` -> ``(B, channels[-1], *smallest)``, for positions of any size.

    Each stage maps an axis of n positions to ceil(n / 2). Integer classes (`Domain` ``category``) become one-hot
    channels. Weights keep PyTorch's default initialisation, from which networks this shallow train with every
    activation.

    Args:
        shape: ``(C, *positions)`` with one to three spatial axes; ``(T,)`` for classes.
        domain: The set of values that x can take; classes become one-hot channels.
        channels: Channels after each stage, one number for each.
        kernel: Width of every convolution, odd.
        activation: The activation after each stage; null takes the model's activation.
        norm: The norm before each activation: ``none``, ``group`` or ``layer``.
        dense: Units of a dense layer with an activation at the end; features are then ``(dense,)``.
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
        super().__init__(shape, domain, StageOptions("encoder conv", channels, kernel, activation, norm, dense))

    def stage_layers(self, stage: Stage) -> list[nn.Module]:
        return [
            convolution(len(stage.size), stage.channels_in, stage.channels_out, stage.options.kernel, stride=2),
            *stage.norm_and_activation(stage.channels_out),
        ]


class ConvDecoder(StridedDecoder):
    """Transposed convolutions of stride 2: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``, for positions of any size.

    Each stage restores the sizes of the axes that an encoder stage has halved. No activation follows the last stage.

    Args:
        z_shape: Shape of one z: ``(dim,)``, or ``(dim, *smallest)``.
        out_shape: Shape of one output: ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.
        channels: Channels before each stage, one number for each, from ``smallest`` to the sizes of x.
        kernel: Width of the encoder's convolutions, odd; the transposed ones are one wider.
        activation: The activation before each stage; null takes the model's activation.
        norm: The norm before each activation: ``none``, ``group`` or ``layer``.
        dense: Units of a dense layer with an activation at the beginning.
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
        super().__init__(z_shape, out_shape, StageOptions("decoder conv", channels, kernel, activation, norm, dense))

    def stage_layers(self, stage: Stage) -> list[nn.Module]:
        return [
            *stage.norm_and_activation(stage.channels_in),
            Upsample(stage.channels_in, stage.channels_out, stage.size, stage.options.kernel),
        ]
