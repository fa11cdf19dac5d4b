"""Power spectra, mel bands, the penalties `stft` and `mel`, and the loss `snr`."""

from __future__ import annotations

import math

import pytest
import torch
from audio_files import noise, sine
from torch import Tensor

from aeframe import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput
from aeframe_audio.spectra import MelBands, PowerSpectrogram, amplitude, log_amplitude

RATE, LENGTH = 8000, 2048
SPEC = DataSpec((2, LENGTH), Domain("signed"), rate=RATE)
QUIET = {"stft": {"floor": -200.0}, "mel": {"floor": -200.0}}


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    config = {"model": {"name": "test"}, "activation": "relu", "encoder": {"name": "mlp", "hidden": (4,)},
              "latent": {"name": "point", "dim": 2}, "loss": {"name": "mae", "activation": "identity"}}  # fmt: skip
    return assemble(config, SPEC)


def value(model: Autoencoder, name: str, x: Tensor, x_hat: Tensor, mask: Tensor | None = None, **options) -> Tensor:
    """Return the penalty of x and a reconstruction."""
    penalty = build("penalty", {"name": name, **options}, spec=SPEC)
    batch = Batch(x, mask)
    return penalty(model, ForwardOutput(batch, batch, None, x_hat.unsqueeze(1), None))


def test_a_sine_of_full_scale_has_power_one() -> None:
    wave = torch.from_numpy(sine(4096, hertz=1000.0, amplitude=1.0).T).float()
    power = PowerSpectrogram(256, 64)(wave)
    assert power.shape == (1, 129, 65)
    # 1000 Hz is bin 32 of a window of 256 samples at 8 kHz.
    assert torch.allclose(power[0, 32, 4:-4], torch.ones(57), atol=1e-4)
    assert float(power[0, 40:, 4:-4].max()) < 1e-6


def test_mel_bands_by_hand() -> None:
    bands = MelBands(1024, 40, RATE)
    assert bands.weights.shape == (40, 513)
    assert torch.allclose(bands.weights.sum(1), torch.ones(40))
    # The Nyquist frequency is 2595 log10(1 + 4000 / 700) = 2146.1 mel; the centre of band 20 is at 20 / 41 of that.
    expected = 700 * (10 ** (2146.06 * 20 / 41 / 2595) - 1)
    centre = (bands.weights[19] * torch.linspace(0, 4000, 513)).sum() / bands.weights[19].sum()
    assert abs(expected - 1072.2) < 0.5
    assert abs(float(centre) - expected) < 15


def test_no_band_is_empty() -> None:
    weights = MelBands(64, 32, RATE).weights
    assert torch.allclose(weights.sum(1), torch.ones(32))


def test_gradient_in_silence_is_zero() -> None:
    for function in (log_amplitude, amplitude):
        wave = torch.zeros(1, 512, requires_grad=True)
        function(PowerSpectrogram(128, 32)(wave), 1e-8).sum().backward()
        assert wave.grad is not None
        assert not wave.grad.any()


@pytest.mark.parametrize("name", ["stft", "mel"])
def test_equal_waves_have_no_distance_and_gradients_are_finite(model: Autoencoder, name: str) -> None:
    x = noise(3, 2, LENGTH)
    x[1], x[2, :, 700:] = 0, 0
    assert value(model, name, x, x.clone()).abs().max() < 1e-4
    for start in (torch.zeros_like(x), x.clone(), 1e-9 * noise(3, 2, LENGTH), noise(3, 2, LENGTH, seed=1)):
        x_hat = start.requires_grad_()
        distance = value(model, name, x, x_hat)
        distance.sum().backward()
        assert distance.isfinite().all()
        assert x_hat.grad is not None
        assert x_hat.grad.isfinite().all()
    assert (value(model, name, x, noise(3, 2, LENGTH, seed=1)) > 100).all()


def test_half_amplitude_in_closed_form(model: Autoencoder) -> None:
    """The log distance is log 2 at every frequency of each frame, and the spectral convergence is one half."""
    x = noise(2, 2, LENGTH)
    frames = [(LENGTH + size // 2 - 1) // (size // 4) + 1 for size in (128, 512)]
    hops = [32, 128]
    logarithm = sum(hop * count for hop, count in zip(hops, frames, strict=True)) / 2 * 2 * math.log(2)
    options = {"windows": (128, 512), "floor": -200.0}
    distance = value(model, "stft", x, 0.5 * x, convergence=0.0, **options)
    assert torch.allclose(distance, torch.full((2,), logarithm), rtol=1e-4)
    distance = value(model, "stft", x, 0.5 * x, logarithm=0.0, **options)
    assert torch.allclose(distance, torch.full((2,), 2 * LENGTH * 0.5), rtol=1e-4)
    assert torch.allclose(value(model, "mel", x, 0.5 * x, **options), torch.full((2,), logarithm), rtol=1e-4)


@pytest.mark.parametrize("name", ["stft", "mel"])
def test_masked_samples_do_not_count(model: Autoencoder, name: str) -> None:
    x, x_hat = noise(2, 2, LENGTH), noise(2, 2, LENGTH, seed=1)
    mask = (torch.arange(LENGTH) < 900).expand(2, 2, LENGTH)
    distance = value(model, name, x, x_hat, mask)
    changed = value(model, name, x.masked_fill(~mask, torch.nan), x_hat.masked_fill(~mask, 7.0), mask)
    assert torch.allclose(distance, changed)
    # Silence without a mask has the same distance.
    silent = value(model, name, x.masked_fill(~mask, 0), x_hat.masked_fill(~mask, 0), mask)
    assert torch.allclose(distance, silent)
    assert not torch.allclose(distance, value(model, name, x, x_hat))


def test_invalid_data_and_options() -> None:
    with pytest.raises(AeframeError) as caught:
        build("penalty", "stft", spec=DataSpec((8,), Domain("real")))
    assert str(caught.value) == "penalty stft requires waves of shape (C, T), found real data of shape (8,)"
    with pytest.raises(AeframeError) as caught:
        build("penalty", {"name": "stft", "windows": (8,)}, spec=SPEC)
    assert str(caught.value) == "penalty stft requires windows of at least 16 samples, multiples of 4, found [8]"
    with pytest.raises(AeframeError) as caught:
        build("penalty", "mel", spec=DataSpec((1, 64), Domain("real")))
    assert str(caught.value) == ("penalty mel requires data with a sampling rate; choose penalties.stft for other data")


def test_signal_to_noise_ratio() -> None:
    loss = build(
        "loss", {"name": "snr", "floor": -120.0, "activation": "identity"}, shape=(1, 100), domain=Domain("signed")
    )
    x = noise(2, 1, 100)
    decibels = loss(torch.stack([0.9 * x, 0.0 * x], 1)[:, :1], Batch(x))
    assert torch.allclose(decibels, torch.full((2,), -20.0), atol=1e-3)
    silent = torch.zeros(1, 1, 100)
    x_hat = torch.zeros(1, 1, 1, 100, requires_grad=True)
    decibels = loss(x_hat, Batch(silent))
    decibels.sum().backward()
    assert decibels.tolist() == [0.0]
    assert x_hat.grad is not None
    assert x_hat.grad.isfinite().all()
    with pytest.raises(AeframeError) as caught:
        build("loss", {"name": "snr", "floor": 0.0}, shape=(1, 100), domain=Domain("signed"))
    assert str(caught.value) == "loss snr requires a floor below 0 dB, found 0"
