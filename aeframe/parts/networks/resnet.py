"""Residual convolutions, and residual transposed convolutions as their decoder.

Shapes: B samples; C channels; ``positions``: the sizes of the spatial axes, (T,), (H, W) or (D, H, W); ``smallest``:
the sizes after the encoder's last stage; ``outputs``: the number of parameters of the likelihood for each element of x.
"""

from __future__ import annotations

from torch import nn

from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import Norm, ResidualBlock, Upsample, convolution
from aeframe.parts.networks.strided import Stage, StageOptions, StridedDecoder, StridedEncoder
from aeframe.types import Domain, Shape


class ResNetEncoder(StridedEncoder):
    """Residual blocks between convolutions of stride 2: ``(B, C, *positions)`` -> ``(B, channels[-1], *smallest)``.

    Each stage maps an axis of n positions, for any n, to ceil(n / 2). Then `blocks` residual blocks follow, in which
    norm and activation come before the convolution (He et al. 2016, arXiv 1603.05027). Integer classes become one-hot
    channels.

    Args:
        shape: ``(C, *positions)`` with one to three spatial axes; ``(T,)`` for classes.
        domain: The set of values that x can take; classes become one-hot channels.
        channels: Channels after each stage, one number for each.
        blocks: Residual blocks in a stage.
        kernel: Width of every convolution, odd.
        activation: The activation in the blocks and at the end; null takes the model's activation.
        norm: The norm before each activation: ``none``, ``group`` or ``layer``.
        dense: Units of a dense layer with an activation at the end; features are then ``(dense,)``.
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
        options = StageOptions("encoder resnet", channels, kernel, activation, norm, dense, blocks)
        super().__init__(shape, domain, options)

    def stage_layers(self, stage: Stage) -> list[nn.Module]:
        return [
            convolution(len(stage.size), stage.channels_in, stage.channels_out, stage.options.kernel, stride=2),
            *residual_blocks(stage, stage.channels_out),
            *(stage.norm_and_activation(stage.channels_out) if stage.is_last else ()),
        ]


class ResNetDecoder(StridedDecoder):
    """Residual blocks between transposed convolutions: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``.

    Each stage restores the sizes of the axes, of any size, that an encoder stage has halved.

    Args:
        z_shape: Shape of one z: ``(dim,)``, or ``(dim, *smallest)``.
        out_shape: Shape of one output: ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.
        channels: Channels before each stage, one number for each, from ``smallest`` to the sizes of x.
        blocks: Residual blocks in a stage.
        kernel: Width of the convolutions, odd; the transposed ones are one wider.
        activation: The activation in the blocks and before the last convolution; null takes the model's activation.
        norm: The norm before each activation: ``none``, ``group`` or ``layer``.
        dense: Units of a dense layer with an activation at the beginning.
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
        options = StageOptions("decoder resnet", channels, kernel, activation, norm, dense, blocks)
        super().__init__(z_shape, out_shape, options)

    def stage_layers(self, stage: Stage) -> list[nn.Module]:
        return [
            *residual_blocks(stage, stage.channels_in),
            *(stage.norm_and_activation(stage.channels_in) if stage.is_last else ()),
            Upsample(stage.channels_in, stage.channels_out, stage.size, stage.options.kernel),
        ]


def residual_blocks(stage: Stage, channels: int) -> list[nn.Module]:
    """Return the residual blocks of a stage, with `channels` in and out."""
    options = stage.options
    return [
        ResidualBlock(len(stage.size), channels, options.kernel, stage.make_activation, options.norm)
        for _ in range(options.blocks or 0)
    ]
