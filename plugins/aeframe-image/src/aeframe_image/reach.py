"""How far a convolutional network looks: what a position of the output depends on."""

from __future__ import annotations

from torch import nn

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.networks.blocks import InputChannels, LatentProjection, ResidualBlock, Upsample
from aeframe.parts.networks.sequential import SequentialDecoder, SequentialEncoder
from aeframe_image.stages import Block, Enlarge, PositionNorm

# What has nothing of its own that mixes positions, beside the modules inside it.
_FRAMES = (
    nn.Sequential,
    nn.Identity,
    SequentialEncoder,
    SequentialDecoder,
    InputChannels,
    LatentProjection,
    ResidualBlock,
    Upsample,
    Block,
    Enlarge,
    PositionNorm,
)
_NOT_POINTWISE = (nn.MultiheadAttention, nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU)


def encoder_reach(who: str, encoder: Encoder) -> tuple[int, int]:
    """Return how many pixels to each side a feature depends on, and the stride between two features.

    Raises:
        AeframeError: Something in it looks at all positions.
    """
    reach, stride = 0, 1
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            reach += module.kernel_size[0] // 2 * stride
            stride *= module.stride[0]
        else:
            _check(who, "encoder", module)
    return reach, stride


def decoder_reach(who: str, decoder: Decoder, stride: int) -> int:
    """Return from how many pixels away, to each side, a feature can be heard at a pixel.

    Raises:
        AeframeError: Something in it looks at all positions.
    """
    reach = 0
    for module in decoder.modules():
        if isinstance(module, nn.ConvTranspose2d):
            stride //= 2
            # The kernel is even, and reaches one further to one side than to the other.
            reach += module.kernel_size[0] // 2 * stride
        elif isinstance(module, Enlarge):
            stride //= 2
            reach += stride
        elif isinstance(module, nn.Conv2d):
            reach += module.kernel_size[0] // 2 * stride
        else:
            _check(who, "decoder", module)
    return reach


def _check(who: str, where: str, module: nn.Module) -> None:
    activation = type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, _NOT_POINTWISE)
    if not activation and not isinstance(module, _FRAMES):
        raise AeframeError(
            f"{who} cannot be taken in tiles: the {type(module).__name__} in its {where} looks at all positions at "
            "once; train one with encoder=conv, or with encoder=vqgan encoder.attention=null encoder.norm=position, "
            "and latent.spatial=true"
        )
