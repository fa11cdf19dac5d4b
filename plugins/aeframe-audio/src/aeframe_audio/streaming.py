"""Encode and decode sounds of any length, piece by piece as they come in.

```python
model = aeframe.load("runs/codec")
encode, decode = StreamEncoder(model.model), StreamDecoder(model.model)
for chunk in microphone:              # (B, C, n), any n
    play(decode(encode(chunk)))       # (B, C, m): whole frames only, the rest waits
play(decode(encode.finish()))         # silence fills the last frame
```

The result is that of the whole sound at once; only the order of sums in it differs. Every layer must be causal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Latent
from aeframe_audio.causal import Past, advance
from aeframe_audio.codebooks import first_levels, num_codebooks
from aeframe_audio.wave import WaveConvDecoder, WaveConvEncoder


class StreamEncoder:
    """The codes of a sound that comes in pieces.

    Raises:
        AeframeError: A model that cannot be streamed.
    """

    def __init__(self, model: Autoencoder) -> None:
        self._encoder, _ = streamed_parts(model)
        self._model = model
        self._past: Past = {}
        self._rest: Tensor | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Latent | None:
        """Return the code of the frames that are whole after the next samples ``(B, C, n)``; None where none is."""
        x = x if self._rest is None else torch.cat([self._rest, x], 2)
        whole = x.shape[2] - x.shape[2] % self._encoder.hop
        # What is handed in may be overwritten by its owner, a sound card's buffer.
        self._rest = x[..., whole:].clone()
        if not whole:
            return None
        latent: Latent = self._model.latent(advance(self._encoder.layers, x[..., :whole], self._past), sample=False)
        return latent

    def finish(self) -> Latent | None:
        """Return the code of the last frame, filled up with silence; None where no samples are left."""
        if self._rest is None or not self._rest.shape[2]:
            return None
        return self(self._rest.new_zeros(*self._rest.shape[:2], self._encoder.hop - self._rest.shape[2]))


class StreamDecoder:
    """The sound of codes that come in pieces.

    Raises:
        AeframeError: A model that cannot be streamed.
    """

    def __init__(self, model: Autoencoder) -> None:
        _, self._decoder = streamed_parts(model)
        self._model = model
        self._past: Past = {}

    @torch.no_grad()
    def __call__(self, z: Tensor) -> Tensor:
        """Return the next samples ``(B, C, n * hop)`` of the next codes ``(B, D, n)``."""
        outputs, channels, _ = self._decoder.out_shape
        found = advance(self._decoder.layers, self._model.latent.decoder_input(z), self._past)
        output = self._model.loss.postprocess(found.reshape(len(z), outputs, channels, -1), None)
        low, high = self._model.spec.domain.bounds
        return self._model.loss.mean(output).clamp(low, high)


def resound(model: Autoencoder, pieces: Iterable[Tensor], *, codebooks: int | None = None) -> Iterator[Tensor]:
    """Yield what a model makes of the pieces ``(B, C, n)`` of a sound; the last frame is filled up with silence.

    Args:
        model: A causal one, in evaluation mode.
        pieces: Of any lengths.
        codebooks: How many of a codec's are used; null takes all.
    """
    encode, decode = StreamEncoder(model), StreamDecoder(model)
    if codebooks is not None:
        num_codebooks(model)
    for latent in itertools.chain(map(encode, pieces), (encode.finish() for _ in range(1))):
        if latent is not None:
            if codebooks is None or latent.codes is None:
                yield decode(latent.mean)
            else:
                yield decode(first_levels(model, latent.codes, codebooks))


def streamed_parts(model: Autoencoder) -> tuple[WaveConvEncoder, WaveConvDecoder]:
    """Return the encoder and the decoder of a model that can be streamed.

    Raises:
        AeframeError: It sees the future, its code belongs to no time, or it needs a condition.
    """
    encoder, decoder = model.encoder, model.decoder
    if not (isinstance(encoder, WaveConvEncoder) and isinstance(decoder, WaveConvDecoder)):
        found = f"{type(encoder).__name__} and {type(decoder).__name__}"
        raise AeframeError(f"only encoder=wave_conv can be streamed, found {found}")
    if not (encoder.causal and decoder.causal):
        raise AeframeError(
            "a model with encoder.causal=false sees the future, so it cannot be streamed; train a causal one"
        )
    if len(model.latent.shape) != 2:
        raise AeframeError(
            f"a code of shape {model.latent.shape} belongs to a whole segment, so it cannot be streamed; choose a "
            "latent with a code for each frame, such as rvq"
        )
    if model.spec.condition:
        raise AeframeError("a model that needs a condition cannot be streamed; train one without")
    return encoder, decoder
