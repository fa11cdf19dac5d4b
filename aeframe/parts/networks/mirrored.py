"""The default decoder ``mirror``: the encoder's layers in reverse order, with the same options."""

from __future__ import annotations

from collections.abc import Callable

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.types import Shape


def mirrored_decoder(z_shape: Shape, out_shape: Shape, encoder: Encoder, build: Callable[..., Decoder]) -> Decoder:
    """Return the decoder that mirrors the encoder.

    Args:
        z_shape: Shape of one z.
        out_shape: Shape of one output, ``(outputs, *shape)`` with the parameters of the likelihood for each element.
        encoder: Encoder of the model.
        build: The function that builds registered parts (`aeframe.factory.build`).

    Raises:
        AeframeError: An encoder without a mirrored decoder; see `Encoder.mirrored_decoder_config`.
    """
    config = encoder.mirrored_decoder_config()
    if config is None:
        raise AeframeError(
            f"decoder 'mirror': encoder {type(encoder).__name__} has no mirrored decoder; "
            "choose a decoder by name, decoder=..., or pass a module"
        )
    return build("decoder", config, z_shape=z_shape, out_shape=out_shape, encoder=encoder, build=build)
