"""The network of VQGAN, which latent diffusion has taken over.

Shapes: B samples, C channels, ``positions`` (T,), (H, W) or (D, H, W).
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
from aeframe_image.stages import Attention, Block, Enlarge, StageNorm, middle, norm_of


class StagesEncoder(SequentialEncoder):
    """Residual stages at halved resolutions, with attention at the lowest: ``(B, C, *positions)`` -> ``(B,
    channels[-1], *smallest)`` (Esser, Rombach & Ommer 2021, arXiv 2012.09841; Rombach et al. 2022, arXiv 2112.10752).

    Between two stages n positions become ceil(n / 2), of any size, so S stages shrink each side by 2^(S - 1).
    ``channels=[128,256,512,512]`` is latent diffusion's f8, with ``latent: {name: gaussian, dim: 4, spatial: true}``;
    ``channels=[128,128,256,256,512] attention=1`` is VQGAN's f16. Integer classes become one-hot channels.

    Args:
        shape: ``(C, *positions)`` with one to three dimensions of positions; ``(T,)`` for classes.
        domain: Says whether values are classes.
        channels: One number for each stage.
        blocks: Residual blocks in a stage; the decoder has one more.
        attention: In how many stages, counted from the lowest resolution, attention follows each block. Between the two
            blocks at the very bottom it stands in any case; null leaves it out there too.
        norm: ``group``, as in the papers; ``position`` sees one position alone. With ``attention=null`` and
            ``norm=position`` pictures of any size can be taken tile by tile.
        activation: In the blocks and at the end; null takes the run's own. The papers have ``silu``.
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
        make = (activation or MakeActivation.named("silu")).same_shape(who)
        seen = InputChannels(who, shape, domain)
        width, *positions = seen.shape
        num_dims = len(positions)
        made: list[nn.Module] = [convolution(num_dims, width, channels[0], 3)]
        width = channels[0]
        for stage, wider in enumerate(channels):
            if stage:
                made.append(convolution(num_dims, width, width, 3, stride=2))
            for _ in range(blocks):
                made.append(Block(num_dims, width, wider, make, norm))
                width = wider
                if len(channels) - stage <= (attention or 0):
                    made.append(Attention(num_dims, width, norm))
        made += middle(num_dims, width, make, norm, attention=attention is not None)
        made += [norm_of(norm, num_dims, width), make()]
        out_shape = (width, *halved_sizes(tuple(positions), len(channels) - 1)[-1])
        mirror = {
            "name": "vqgan",
            "channels": tuple(reversed(channels)),
            "blocks": blocks + 1,
            "attention": attention,
            "norm": norm,
            "activation": activation,
        }
        super().__init__(seen, made, out_shape, mirror)


class StagesDecoder(SequentialDecoder):
    """Residual stages at doubled resolutions: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``, of any size.

    The sizes are those of the encoder, stage by stage from the smallest.

    Args:
        z_shape: ``(dim,)``, or ``(dim, *smallest)``.
        out_shape: ``(outputs, C, *positions)``, or ``(outputs, T)`` for classes at T positions.
        channels: One number for each stage, from the smallest positions on.
        blocks: Residual blocks in a stage.
        attention: In how many stages, counted from the lowest resolution, attention follows each block; null leaves it
            out between the first two blocks too.
        norm: ``group`` or ``position``.
        activation: In the blocks and before the last convolution; null takes the run's own.
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
        make = (activation or MakeActivation.named("silu")).same_shape(who)
        channels_out, positions = output_channels(who, out_shape)
        num_dims, width = len(positions), channels[0]
        *sizes, smallest = halved_sizes(positions, len(channels) - 1)
        made: list[nn.Module] = [LatentProjection(who, z_shape, (width, *smallest), make, None)]
        made += middle(num_dims, width, make, norm, attention=attention is not None)
        for stage, narrower in enumerate(channels):
            if stage:
                made.append(Enlarge(width, sizes[-stage]))
            for _ in range(blocks):
                made.append(Block(num_dims, width, narrower, make, norm))
                width = narrower
                if stage < (attention or 0):
                    made.append(Attention(num_dims, width, norm))
        made += [norm_of(norm, num_dims, width), make(), convolution(num_dims, width, channels_out, 3)]
        super().__init__(made, out_shape)


def _check(who: str, channels: tuple[int, ...], blocks: int, attention: int | None) -> None:
    check_sizes(who, channels, 3, None, blocks)
    if attention is not None and not 0 <= attention <= len(channels):
        raise AeframeError(
            f"{who} has {len(channels)} stages, of which attention={attention} cannot listen; set it from 0 to "
            f"{len(channels)}, or to null"
        )
