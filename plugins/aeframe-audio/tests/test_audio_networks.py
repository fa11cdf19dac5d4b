"""Networks of waves: any size, causal where they say so, and the same piece by piece."""

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
from aeframe_audio.causal import TimeConv, TimeUpsample, advance
from aeframe_audio.codebooks import first_levels
from aeframe_audio.snake import Snake
from aeframe_audio.spectrogram import Frames, SpectrogramEncoder
from aeframe_audio.streaming import StreamDecoder, StreamEncoder, resound
from aeframe_audio.wave import WaveConvEncoder

SIGNED = Domain("signed")


def model(length: int = 96, channels: int = 1, **parts: object) -> Autoencoder:
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
def test_any_length_comes_back(encoder: str, length: int) -> None:
    made = model(length, 2, encoder={"name": encoder})
    with torch.no_grad():
        p = made(Batch(noise(3, 2, length)))
    assert p.output.shape == (3, 1, 2, length)
    assert p.latent.z.shape == (3, 4, -(-length // 64))


def shifted_outputs(made: Autoencoder, x: Tensor) -> Tensor:
    """Where a change of the samples from 48 on shows."""
    y = x.clone()
    y[..., 48:] += 0.3
    with torch.no_grad():
        one, other = (made.decode(made.latent.decoder_input(made.embed(Batch(each)).mean)) for each in (x, y))
    return (one != other).flatten(1).any(0).nonzero().flatten()


def test_a_causal_model_does_not_see_what_is_to_come() -> None:
    made = model(latent={"name": "point", "spatial": True, "dim": 4})
    assert int(shifted_outputs(made, noise(2, 1, 96))[0]) == 48
    encoder = {"name": "wave_conv", "channels": (6, 8), "strides": (4, 2), "causal": False}
    seeing = model(latent={"name": "point", "spatial": True, "dim": 4}, encoder=encoder)
    assert int(shifted_outputs(seeing, noise(2, 1, 96))[0]) < 40


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("dilation", [1, 3])
def test_a_layer_fed_piece_by_piece_gives_the_same(stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    for layer, size in (
        (TimeConv(2, 3, 2 * stride, causal=True, stride=stride, dilation=dilation), stride),
        (TimeUpsample(2, 3, stride, causal=True), 1),
    ):
        x, past = noise(2, 2, 12 * size), {}
        with torch.no_grad():
            pieces = [advance(layer, piece, past) for piece in x.split([size, 4 * size, 7 * size], 2)]
            assert torch.allclose(torch.cat(pieces, 2), layer(x), atol=1e-6)


@pytest.mark.parametrize("sizes", [[1] * 96, [8] * 12, [5, 90, 1], [96], [95, 1]])
def test_a_stream_is_the_whole_to_a_hundred_thousandth(sizes: list[int]) -> None:
    made, x = model(channels=2), noise(3, 2, 96)
    with torch.no_grad():
        whole: Tensor = made.embed(Batch(x))
        offline = made.generate(whole.mean)
        encode, decode = StreamEncoder(made), StreamDecoder(made)
        pieces = [latent for piece in x.split(sizes, 2) if (latent := encode(piece)) is not None]
    assert encode.finish() is None
    assert torch.equal(torch.cat([piece.codes for piece in pieces], 1), whole.codes)
    assert torch.allclose(torch.cat([piece.mean for piece in pieces], 2), whole.mean, atol=1e-5)
    assert torch.allclose(torch.cat([decode(piece.mean) for piece in pieces], 2), offline, atol=1e-5)


def test_a_stream_of_another_length_ends_in_silence() -> None:
    made, x = model(), noise(1, 1, 91)
    found = torch.cat(list(resound(made, x.split(20, 2))), 2)
    with torch.no_grad():
        padded = torch.nn.functional.pad(x, (0, 5))
        offline = made.generate(made.embed(Batch(padded)).mean)
    assert found.shape == (1, 1, 96)
    assert torch.allclose(found, offline, atol=1e-5)


def test_fewer_codebooks_are_the_sum_of_the_first() -> None:
    made, x = model(), noise(2, 1, 96)
    with torch.no_grad():
        codes = made.embed(Batch(x)).codes
        assert codes is not None
        expected = sum(made.latent.codebooks[level](codes[..., level]) for level in range(2))
        assert torch.allclose(first_levels(made, codes, 2), expected.movedim(-1, 1), atol=1e-6)
        offline = made.generate(first_levels(made, codes, 2))
    streamed = torch.cat(list(resound(made, x.split(17, 2), codebooks=2)), 2)
    assert torch.allclose(streamed, offline, atol=1e-5)
    with pytest.raises(AeframeError) as caught:
        first_levels(made, codes, 4)
    assert str(caught.value) == "the codec has 3 codebooks for each frame, found 4; choose 1 to 3"


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"encoder": {"name": "conv"}}, "only encoder=wave_conv can be streamed, found ConvEncoder and ConvDecoder"),
        (
            {"encoder": {"name": "wave_conv", "causal": False}},
            "a model with encoder.causal=false sees the future, so it cannot be streamed; train a causal one",
        ),
        (
            {"latent": {"name": "point", "dim": 3}},
            "a code of shape (3,) belongs to a whole segment, so it cannot be streamed; choose a latent with a code "
            "for each frame, such as rvq",
        ),
    ],
)
def test_what_cannot_be_streamed(parts: dict[str, object], told: str) -> None:
    with pytest.raises(AeframeError) as caught:
        StreamEncoder(model(**parts))
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"strides": (4,)},
            "encoder wave_conv needs strides of at least 1, one for each of its 3 channels, found [4]",
        ),
        ({"dilations": (0,)}, "encoder wave_conv needs dilations of at least 1, found [0]"),
        ({"kernel": 4}, "encoder wave_conv needs an odd kernel such as 3 or 5, found 4"),
        (
            {"activation": MakeActivation.named("softmax")},
            "encoder wave_conv with causal=true needs an activation of each value by itself, 'softmax' is none; choose "
            "another, such as snake",
        ),
    ],
)
def test_what_makes_no_network(options: dict[str, object], told: str) -> None:
    with pytest.raises(AeframeError) as caught:
        WaveConvEncoder((1, 64), SIGNED, **options)  # type: ignore[arg-type]
    assert str(caught.value) == told


def test_pictures_are_no_sounds() -> None:
    for made in (WaveConvEncoder, SpectrogramEncoder):
        with pytest.raises(AeframeError, match="needs one dimension of positions"):
            made((1, 8, 8), SIGNED)
    with pytest.raises(AeframeError) as caught:
        SpectrogramEncoder((1, 64), SIGNED, window=64)
    assert str(caught.value) == (
        "encoder spectrogram needs an even window of at least two hops, found a window of 64 and a hop of 64"
    )


@pytest.mark.parametrize("length", [500, 512, 1])
def test_frames_of_a_wave_add_up_to_it(length: int) -> None:
    frames, x = Frames("a test", (length,), 64, 16), noise(2, 3, length)
    assert frames.spectra(x).shape == (2, 3, 33, -(-length // 16))
    back = frames.waves(frames.spectra(x))
    # The window's ends are all that sees the first and last samples of some lengths, and they are nearly 0.
    assert torch.allclose(back[..., : length - 8], x[..., : length - 8], atol=1e-4)


def test_snake() -> None:
    x = torch.tensor([0.0, torch.pi / 4, torch.pi / 2, torch.pi])
    expected = torch.tensor([0.0, torch.pi / 4 + 0.5, torch.pi / 2, torch.pi])
    assert torch.allclose(Snake(frequency=2.0)(x), expected, atol=1e-6)
    with pytest.raises(AeframeError) as caught:
        Snake(frequency=0.0)
    assert str(caught.value) == "activation snake needs frequency > 0, found 0"
