"""The receptive field of convolutional encoders and decoders, in pixels.

Its radius is the largest distance at which a position still has an influence.
"""

from __future__ import annotations

from torch import nn

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.networks.blocks import InputChannels, LatentProjection, ResidualBlock, Upsample
from aeframe.parts.networks.sequential import SequentialDecoder, SequentialEncoder
from aeframe_image.vqgan_blocks import NearestUpsample, PositionNorm
from aeframe_image.vqgan_blocks import ResidualBlock as VQGANResidualBlock

# Modules that combine positions only through the modules they contain.
_CONTAINERS = (
    nn.Sequential,
    nn.Identity,
    SequentialEncoder,
    SequentialDecoder,
    InputChannels,
    LatentProjection,
    ResidualBlock,
    Upsample,
    VQGANResidualBlock,
    NearestUpsample,
    PositionNorm,
)
_NOT_ELEMENTWISE = (nn.MultiheadAttention, nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU)
"""Modules of ``torch.nn.modules.activation`` that are not functions of single values."""


def encoder_receptive_field(who: str, encoder: Encoder) -> tuple[int, int]:
    """Return the radius of the receptive field of a feature, and the stride between two features, both in pixels.

    Raises:
        AeframeError: A module with a global receptive field, or an unknown module.
    """
    radius, stride = 0, 1
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            radius += module.kernel_size[0] // 2 * stride
            stride *= module.stride[0]
        else:
            _check_local(who, "encoder", module)
    return radius, stride


def decoder_receptive_field(who: str, decoder: Decoder, stride: int) -> int:
    """Return the radius, in pixels, of the output region that depends on one position of the code.

    Args:
        who: The model's name, for error messages.
        decoder: The network.
        stride: Pixels between two positions of the code.

    Raises:
        AeframeError: A module with a global receptive field, or an unknown module.
    """
    radius = 0
    for module in decoder.modules():
        if isinstance(module, nn.ConvTranspose2d):
            stride //= 2
            # An even kernel reaches one position further to one side than to the other; this is the larger reach.
            radius += module.kernel_size[0] // 2 * stride
        elif isinstance(module, NearestUpsample):
            stride //= 2
            # Each position becomes two, of which the second is one finer position further to one side.
            radius += stride
        elif isinstance(module, nn.Conv2d):
            radius += module.kernel_size[0] // 2 * stride
        else:
            _check_local(who, "decoder", module)
    return radius


def _check_local(who: str, network: str, module: nn.Module) -> None:
    elementwise = type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, _NOT_ELEMENTWISE)
    if not elementwise and not isinstance(module, _CONTAINERS):
        raise AeframeError(
            f"{who} cannot be applied in tiles: the {type(module).__name__} in its {network} combines all positions; "
            "train one with encoder=conv, or with encoder=vqgan encoder.attention=null encoder.norm=position, "
            "and latent.spatial=true"
        )
