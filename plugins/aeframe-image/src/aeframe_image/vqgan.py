"""The encoder and decoder of VQGAN, also used by latent diffusion.

Shapes: B samples, C channels, ``positions`` (T,), (H, W) or (D, H, W), and ``smallest``, the positions at the lowest
resolution; a decoder returns `outputs` parameters of the likelihood for each element. A stage is the layers at one
resolution.
"""

from __future__ import annotations

from torch import nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import (
    InputChannels,
    LatentProjection,
    check_sizes,
    convolution,
    halved_sizes,
    output_channels,
)
from aeframe.parts.networks.sequential import SequentialDecoder, SequentialEncoder
from aeframe.types import Domain, Shape
from aeframe_image.vqgan_blocks import (
    NearestUpsample,
    ResidualBlock,
    SelfAttention,
    StageNorm,
    make_norm,
    middle_blocks,
)


class VQGANEncoder(SequentialEncoder):
    """Stages of residual blocks, each at half the resolution of the one before, with self-attention at the lowest:
    ``(B, C, *positions)`` -> ``(B, channels[-1], *smallest)`` (VQGAN: Esser, Rombach & Ommer 2021, arXiv 2012.09841;
    latent diffusion: Rombach et al. 2022, arXiv 2112.10752).

    Between two stages a side of n positions becomes ceil(n / 2), so S stages divide each side by 2^(S - 1). The f8
    encoder of latent diffusion is ``channels=[128,256,512,512]`` with ``latent: {name: gaussian, dim: 4, spatial:
    true}``; the f16 encoder of VQGAN is ``channels=[128,128,256,256,512] attention=1``. Integer classes become one-hot
    channels.

    Args:
        shape: ``(C, *positions)`` with one to three dimensions of positions; ``(T,)`` for classes.
        domain: Domain of x; the values of ``category`` data are classes.
        channels: Channels of each stage, from the highest resolution.
        blocks: Residual blocks in a stage; the decoder has one more.
        attention: The number of stages, from the lowest resolution, with self-attention after each block. The two
            blocks after the last stage have self-attention between them unless this is null.
        norm: ``group``, as in the papers, or ``position``, which normalises each position separately. With
            ``attention=null`` and ``norm=position`` the network can be applied to images of any size in tiles.
        activation: The activation in the blocks and after the last one; null takes the run's activation, by default
            ``silu`` as in the papers.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        channels: tuple[int, ...] = (32, 64, 128),
        blocks: int = 2,
        attention: int | None = 0,
        norm: StageNorm = "group",
        activation: MakeActivation | None = None,
    ) -> None:
        who = "encoder vqgan"
        _check(who, channels, blocks, attention)
        make_activation = (activation or MakeActivation.named("silu")).same_shape(who)
        inputs = InputChannels(who, shape, domain)
        width, *positions = inputs.shape
        num_dims = len(positions)
        layers: list[nn.Module] = [convolution(num_dims, width, channels[0], 3)]
        width = channels[0]
        for stage, stage_width in enumerate(channels):
            if stage:
                layers.append(convolution(num_dims, width, width, 3, stride=2))
            for _ in range(blocks):
                layers.append(ResidualBlock(num_dims, width, stage_width, make_activation, norm))
                width = stage_width
                if len(channels) - stage <= (attention or 0):
                    layers.append(SelfAttention(num_dims, width, norm))
        layers += middle_blocks(num_dims, width, make_activation, norm, attention=attention is not None)
        layers += [make_norm(norm, num_dims, width), make_activation()]
        out_shape = (width, *halved_sizes(tuple(positions), len(channels) - 1)[-1])
        # The config of the decoder that mirrors this encoder.
        mirror = {
            "name": "vqgan",
            "channels": tuple(reversed(channels)),
            "blocks": blocks + 1,
            "attention": attention,
            "norm": norm,
            "activation": activation,
        }
        super().__init__(inputs, layers, out_shape, mirror)


class VQGANDecoder(SequentialDecoder):
    """Stages of residual blocks, each at twice the resolution of the one before: ``(B, *z_shape)`` -> ``(B, outputs,
    *shape)``.

    The resolutions are those of the encoder's stages, so outputs of any size are possible.

    Args:
        z_shape: Shape of one z: ``(dim,)``, or ``(dim, *smallest)`` for a spatial code.
        out_shape: ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.
        channels: Channels of each stage, from the lowest resolution.
        blocks: Residual blocks in a stage.
        attention: The number of stages, from the lowest resolution, with self-attention after each block. The two
            blocks before the first stage have self-attention between them unless this is null.
        norm: ``group`` or ``position``.
        activation: The activation in the blocks and before the last convolution; null takes the run's activation, by
            default ``silu``.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        channels: tuple[int, ...] = (128, 64, 32),
        blocks: int = 3,
        attention: int | None = 0,
        norm: StageNorm = "group",
        activation: MakeActivation | None = None,
    ) -> None:
        who = "decoder vqgan"
        _check(who, channels, blocks, attention)
        make_activation = (activation or MakeActivation.named("silu")).same_shape(who)
        channels_out, positions = output_channels(who, out_shape)
        num_dims, width = len(positions), channels[0]
        *sizes, smallest = halved_sizes(positions, len(channels) - 1)
        layers: list[nn.Module] = [LatentProjection(who, z_shape, (width, *smallest), make_activation, None)]
        layers += middle_blocks(num_dims, width, make_activation, norm, attention=attention is not None)
        for stage, stage_width in enumerate(channels):
            if stage:
                layers.append(NearestUpsample(width, sizes[-stage]))
            for _ in range(blocks):
                layers.append(ResidualBlock(num_dims, width, stage_width, make_activation, norm))
                width = stage_width
                if stage < (attention or 0):
                    layers.append(SelfAttention(num_dims, width, norm))
        layers += [make_norm(norm, num_dims, width), make_activation(), convolution(num_dims, width, channels_out, 3)]
        super().__init__(layers, out_shape)


def _check(who: str, channels: tuple[int, ...], blocks: int, attention: int | None) -> None:
    check_sizes(who, channels, 3, None, blocks)
    if attention is not None and not 0 <= attention <= len(channels):
        raise AeframeError(
            f"{who} has {len(channels)} stages, found attention={attention}; set it from 0 to {len(channels)}, or to "
            "null"
        )
