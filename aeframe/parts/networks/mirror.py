"""The default decoder: the encoder, turned round."""

from __future__ import annotations

from collections.abc import Callable

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.types import Shape


def mirror(z_shape: Shape, out_shape: Shape, encoder: Encoder, build: Callable[..., Decoder]) -> Decoder:
    """Return the decoder that the encoder names as its own mirror image, with the same options."""
    config = encoder.mirror()
    if config is None:
        raise AeframeError(
            f"decoder 'mirror': {type(encoder).__name__} names no mirror image; choose a decoder by name, decoder=..."
        )
    return build("decoder", config, z_shape=z_shape, out_shape=out_shape, encoder=encoder, build=build)
