"""Encoders and decoders of waves: shapes, causality and streaming."""

from __future__ import annotations

import pytest
import torch
from audio_files import noise
from torch import Tensor

from aeframe import AeframeError
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.activations import MakeActivation
from aeframe.types import Batch, DataSpec, Domain
from aeframe_audio.causal import TimeConv, TimeUpsample, stream_step
from aeframe_audio.codebooks import z_from_first_codebooks
from aeframe_audio.snake import Snake
from aeframe_audio.spectrogram import ShortTimeFourier, SpectrogramEncoder
from aeframe_audio.streaming import StreamDecoder, StreamEncoder, stream_reconstruction
from aeframe_audio.wave_conv import WaveConvEncoder

SIGNED = Domain("signed")


def make_model(length: int = 96, channels: int = 1, **parts: object) -> Autoencoder:
    torch.manual_seed(0)
    config = {
        "model": {"name": "test"},
        "activation": "snake",
        "encoder": {"name": "wave_conv", "channels": (6, 8), "strides": (4, 2), "dilations": (1, 3)},
        "latent": {"name": "rvq", "dim": 4, "num_quantizers": 3, "codebook_size": 16, "kmeans_init": False},
        "loss": "mae",
        **parts,
    }
    return assemble(config, DataSpec((channels, length), SIGNED, rate=800)).eval()


@pytest.mark.parametrize("encoder", ["wave_conv", "spectrogram"])
@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_output_has_the_length_of_the_input(encoder: str, length: int) -> None:
    model = make_model(length, 2, encoder={"name": encoder})
    with torch.no_grad():
        out = model(Batch(noise(3, 2, length)))
    assert out.output.shape == (3, 1, 2, length)
    assert out.latent.z.shape == (3, 4, -(-length // 64))


def changed_outputs(model: Autoencoder, x: Tensor) -> Tensor:
    """Return the positions of outputs that change with the samples from 48 on."""
    y = x.clone()
    y[..., 48:] += 0.3
    with torch.no_grad():
        before, after = (model.decode(model.latent.decoder_input(model.embed(Batch(wave)).mean)) for wave in (x, y))
    return (before != after).flatten(1).any(0).nonzero().flatten()


def test_causal_model_does_not_depend_on_the_future() -> None:
    model = make_model(latent={"name": "point", "spatial": True, "dim": 4})
    assert int(changed_outputs(model, noise(2, 1, 96))[0]) == 48
    encoder = {"name": "wave_conv", "channels": (6, 8), "strides": (4, 2), "causal": False}
    symmetric = make_model(latent={"name": "point", "spatial": True, "dim": 4}, encoder=encoder)
    assert int(changed_outputs(symmetric, noise(2, 1, 96))[0]) < 40


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("dilation", [1, 3])
def test_layers_process_chunks(stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    for layer, size in (
        (TimeConv(2, 3, 2 * stride, causal=True, stride=stride, dilation=dilation), stride),
        (TimeUpsample(2, 3, stride, causal=True), 1),
    ):
        x, state = noise(2, 2, 12 * size), {}
        with torch.no_grad():
            chunks = [stream_step(layer, chunk, state) for chunk in x.split([size, 4 * size, 7 * size], 2)]
            assert torch.allclose(torch.cat(chunks, 2), layer(x), atol=1e-6)


@pytest.mark.parametrize("sizes", [[1] * 96, [8] * 12, [5, 90, 1], [96], [95, 1]])
def test_stream_equals_the_whole_sound(sizes: list[int]) -> None:
    model, x = make_model(channels=2), noise(3, 2, 96)
    with torch.no_grad():
        whole: Tensor = model.embed(Batch(x))
        offline = model.generate(whole.mean)
        encode, decode = StreamEncoder(model), StreamDecoder(model)
        latents = [latent for chunk in x.split(sizes, 2) if (latent := encode(chunk)) is not None]
    assert encode.finish() is None
    assert torch.equal(torch.cat([latent.codes for latent in latents], 1), whole.codes)
    assert torch.allclose(torch.cat([latent.mean for latent in latents], 2), whole.mean, atol=1e-5)
    assert torch.allclose(torch.cat([decode(latent.mean) for latent in latents], 2), offline, atol=1e-5)


def test_last_frame_of_a_stream_is_padded_with_silence() -> None:
    model, x = make_model(), noise(1, 1, 91)
    streamed = torch.cat(list(stream_reconstruction(model, x.split(20, 2))), 2)
    with torch.no_grad():
        padded = torch.nn.functional.pad(x, (0, 5))
        offline = model.generate(model.embed(Batch(padded)).mean)
    assert streamed.shape == (1, 1, 96)
    assert torch.allclose(streamed, offline, atol=1e-5)


def test_z_from_the_first_codebooks_is_their_sum() -> None:
    model, x = make_model(), noise(2, 1, 96)
    with torch.no_grad():
        codes = model.embed(Batch(x)).codes
        assert codes is not None
        expected = sum(model.latent.codebooks[level](codes[..., level]) for level in range(2))
        assert torch.allclose(z_from_first_codebooks(model, codes, 2), expected.movedim(-1, 1), atol=1e-6)
        offline = model.generate(z_from_first_codebooks(model, codes, 2))
    streamed = torch.cat(list(stream_reconstruction(model, x.split(17, 2), codebooks=2)), 2)
    assert torch.allclose(streamed, offline, atol=1e-5)
    with pytest.raises(AeframeError) as caught:
        z_from_first_codebooks(model, codes, 4)
    assert str(caught.value) == "the codec has 3 codebooks per frame, found 4; choose 1 to 3"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"encoder": {"name": "conv"}}, "streaming requires encoder=wave_conv, found ConvEncoder and ConvDecoder"),
        (
            {"encoder": {"name": "wave_conv", "causal": False}},
            "streaming requires a causal model, found encoder.causal=false; train one with encoder.causal=true",
        ),
        (
            {"latent": {"name": "point", "dim": 3}},
            "streaming requires a latent with one code per frame, found z of shape (3,) for a whole segment; choose a "
            "latent such as rvq",
        ),
    ],
)
def test_models_that_cannot_stream(parts: dict[str, object], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        StreamEncoder(make_model(**parts))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"strides": (4,)},
            "encoder wave_conv requires strides of at least 1, one for each of its 3 channels, found [4]",
        ),
        ({"dilations": (0,)}, "encoder wave_conv requires dilations of at least 1, found [0]"),
        ({"kernel": 4}, "encoder wave_conv needs an odd kernel such as 3 or 5, found 4"),
        (
            {"activation": MakeActivation.named("softmax")},
            "encoder wave_conv with causal=true requires an elementwise activation, found 'softmax'; choose another, "
            "such as snake",
        ),
    ],
)
def test_invalid_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        WaveConvEncoder((1, 64), SIGNED, **options)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_data_of_another_shape() -> None:
    for encoder in (WaveConvEncoder, SpectrogramEncoder):
        with pytest.raises(AeframeError, match=r"requires data of shape \(C, T\), found 2 axes of positions, \(8, 8\)"):
            encoder((1, 8, 8), SIGNED)
    with pytest.raises(AeframeError) as caught:
        SpectrogramEncoder((1, 64), SIGNED, window=64)
    assert str(caught.value) == (
        "encoder spectrogram requires an even window of at least two hops, found a window of 64 and a hop of 64"
    )


@pytest.mark.parametrize("length", [500, 512, 1])
def test_inverse_of_the_short_time_fourier_transform(length: int) -> None:
    stft, x = ShortTimeFourier("a test", (length,), 64, 16), noise(2, 3, length)
    assert stft(x).shape == (2, 3, 33, -(-length // 16))
    reconstruction = stft.inverse(stft(x))
    # Some lengths have last samples that only the nearly zero ends of windows cover.
    assert torch.allclose(reconstruction[..., : length - 8], x[..., : length - 8], atol=1e-4)


def test_snake() -> None:
    x = torch.tensor([0.0, torch.pi / 4, torch.pi / 2, torch.pi])
    expected = torch.tensor([0.0, torch.pi / 4 + 0.5, torch.pi / 2, torch.pi])
    assert torch.allclose(Snake(frequency=2.0)(x), expected, atol=1e-6)
    with pytest.raises(AeframeError) as caught:
        Snake(frequency=0.0)
    assert str(caught.value) == "activation snake requires frequency > 0, found 0"
