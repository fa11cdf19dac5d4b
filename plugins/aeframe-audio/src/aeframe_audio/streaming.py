"""Encode and decode a sound chunk by chunk, with a causal model.

```python
model = aeframe.load("runs/codec").model.eval()
encode, decode = StreamEncoder(model), StreamDecoder(model)
for chunk in microphone:                            # (B, C, n), any n
    if (latent := encode(chunk)) is not None:       # whole frames only; other samples wait for the next chunk
        play(decode(latent.mean))                   # (B, C, m)
if (latent := encode.finish()) is not None:         # the last frame, padded with silence
    play(decode(latent.mean))
```

The result equals that of the whole sound at once, up to rounding.

Shapes: B sounds, C channels, n samples of a chunk (or n frames), D dimensions of z; the encoder's `hop` is the number
of samples per frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Latent
from aeframe_audio.causal import StreamState, stream_step
from aeframe_audio.codebooks import num_codebooks, z_from_first_codebooks
from aeframe_audio.wave_conv import WaveConvDecoder, WaveConvEncoder


class StreamEncoder:
    """Encodes the chunks of one sound.

    Raises:
        AeframeError: A model that cannot stream, see `streaming_networks`.
    """

    def __init__(self, model: Autoencoder) -> None:
        self._encoder, _ = streaming_networks(model)
        self._model = model
        self._state: StreamState = {}
        self._remainder: Tensor | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Latent | None:
        """Return the latent of the frames that the samples ``(B, C, n)`` complete; None if they complete none."""
        x = x if self._remainder is None else torch.cat([self._remainder, x], 2)
        num_samples = x.shape[2] - x.shape[2] % self._encoder.hop
        # A copy, since the caller may reuse the memory of its chunk.
        self._remainder = x[..., num_samples:].clone()
        if not num_samples:
            return None
        features = stream_step(self._encoder.layers, x[..., :num_samples], self._state)
        latent: Latent = self._model.latent(features, sample=False)
        return latent

    def finish(self) -> Latent | None:
        """Return the latent of the last frame, padded with silence; None if no samples remain."""
        if self._remainder is None or not self._remainder.shape[2]:
            return None
        padding = self._encoder.hop - self._remainder.shape[2]
        return self(self._remainder.new_zeros(*self._remainder.shape[:2], padding))


class StreamDecoder:
    """Decodes consecutive latents of one sound.

    Raises:
        AeframeError: A model that cannot stream, see `streaming_networks`.
    """

    def __init__(self, model: Autoencoder) -> None:
        _, self._decoder = streaming_networks(model)
        self._model = model
        self._state: StreamState = {}

    @torch.no_grad()
    def __call__(self, z: Tensor) -> Tensor:
        """Return samples ``(B, C, n * hop)`` for the next n frames of z ``(B, D, n)``."""
        # `outputs`: numbers that the loss needs for each sample of a wave, such as a mean and a variance.
        outputs, channels, _ = self._decoder.out_shape
        values = stream_step(self._decoder.layers, self._model.latent.decoder_input(z), self._state)
        output = self._model.loss.postprocess(values.reshape(len(z), outputs, channels, -1), None)
        low, high = self._model.spec.domain.bounds
        return self._model.loss.mean(output).clamp(low, high)


def stream_reconstruction(
    model: Autoencoder, chunks: Iterable[Tensor], *, codebooks: int | None = None
) -> Iterator[Tensor]:
    """Yield the reconstruction of a sound chunk by chunk; the last frame is padded with silence.

    Args:
        model: A causal model in evaluation mode.
        chunks: ``(B, C, n)``, of any lengths.
        codebooks: Number of codebooks to use; None uses all.
    """
    encode, decode = StreamEncoder(model), StreamDecoder(model)
    if codebooks is not None:
        num_codebooks(model)  # Raises an error for a latent without codebooks.

    def latents() -> Iterator[Latent | None]:
        yield from map(encode, chunks)
        yield encode.finish()

    for latent in latents():
        if latent is not None:
            if codebooks is None or latent.codes is None:
                yield decode(latent.mean)
            else:
                yield decode(z_from_first_codebooks(model, latent.codes, codebooks))


def streaming_networks(model: Autoencoder) -> tuple[WaveConvEncoder, WaveConvDecoder]:
    """Return the encoder and the decoder of a model that can stream.

    Raises:
        AeframeError: A network other than wave_conv, one that is not causal, a latent without a time axis, or a
            condition.
    """
    encoder, decoder = model.encoder, model.decoder
    if not (isinstance(encoder, WaveConvEncoder) and isinstance(decoder, WaveConvDecoder)):
        found = f"{type(encoder).__name__} and {type(decoder).__name__}"
        raise AeframeError(f"streaming requires encoder=wave_conv, found {found}")
    if not (encoder.causal and decoder.causal):
        raise AeframeError(
            "streaming requires a causal model, found encoder.causal=false; train one with encoder.causal=true"
        )
    if len(model.latent.shape) != 2:
        raise AeframeError(
            f"streaming requires a latent with one code per frame, found z of shape {model.latent.shape} for a whole "
            "segment; choose a latent such as rvq"
        )
    if model.spec.condition:
        raise AeframeError("streaming requires a model without a condition; train one without it")
    return encoder, decoder
