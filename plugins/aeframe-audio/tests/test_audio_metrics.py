"""Metrics against closed forms and torchmetrics."""

from __future__ import annotations

import math

import pytest
import torch
from audio_files import noise, sine
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, Latent
from aeframe_audio.codec_evaluation import pca_si_sdr
from aeframe_audio.metrics import si_sdr
from aeframe_audio.packed import PackedSounds
from aeframe_audio.segments import ConsecutiveSegments

LENGTH, RATE = 4000, 8000
CONFIG = {
    "model": {"name": "test"}, "activation": "relu", "encoder": {"name": "wave_conv", "channels": (4, 4, 4)},
    "latent": {"name": "rvq", "dim": 2, "num_quantizers": 2, "codebook_size": 4},
    "loss": {"name": "mae", "activation": "identity"},
}  # fmt: skip
MODEL = assemble(CONFIG, DataSpec((1, LENGTH), Domain("signed"), rate=RATE))


def measured(name: str, x: torch.Tensor, x_hat: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    metric: ModelMetric = build("metric", name, model=MODEL)
    batch = Batch(x, mask)
    metric.update(MODEL, ForwardOutput(batch, batch, Latent(x, x), x_hat.unsqueeze(1), x[:, 0, 0]))
    return float(metric.compute())


def test_si_sdr_of_known_noise() -> None:
    time = torch.arange(LENGTH).double() / RATE
    x = torch.sin(2 * math.pi * 400 * time)[None, None]
    orthogonal = torch.cos(2 * math.pi * 400 * time)[None, None]
    # The noise has 1/100 of the power: 20 dB, for any scale and offset.
    assert float(si_sdr(3 * (x + 0.1 * orthogonal) + 5, x)) == pytest.approx(20.0, abs=1e-6)


def test_si_sdr_equals_that_of_torchmetrics() -> None:
    x, x_hat = noise(5, 1, 300).double(), noise(5, 1, 300).double() + 0.3 * noise(5, 1, 300, seed=1)
    expected = scale_invariant_signal_distortion_ratio(x_hat[:, 0], x[:, 0], zero_mean=True)
    assert torch.allclose(si_sdr(x_hat, x), expected)


def test_si_sdr_is_bounded() -> None:
    x = noise(1, 1, 300)
    assert float(si_sdr(x, x)) == pytest.approx(100.0)
    assert float(si_sdr(torch.zeros_like(x), x)) == pytest.approx(0.0)
    assert si_sdr(x, torch.zeros_like(x)).isfinite().all()


def test_silent_segments_have_no_si_sdr() -> None:
    x, x_hat = noise(2, 1, LENGTH), noise(2, 1, LENGTH) + 0.1 * noise(2, 1, LENGTH, seed=1)
    x[1] = 0
    assert measured("si_sdr", x, x_hat) == pytest.approx(float(si_sdr(x_hat[:1], x[:1])), rel=1e-5)


@pytest.mark.parametrize("name", ["mel_distance", "log_spectral_distance"])
def test_half_amplitude_is_six_decibels(name: str) -> None:
    x = noise(2, 1, LENGTH)
    assert measured(name, x, 0.5 * x) == pytest.approx(20 * math.log10(2), rel=1e-3)
    assert measured(name, x, x) == 0


@pytest.mark.parametrize("name", ["si_sdr", "mel_distance", "log_spectral_distance"])
def test_masked_samples_do_not_count(name: str) -> None:
    x, x_hat = noise(1, 1, LENGTH), noise(1, 1, LENGTH, seed=1)
    mask = (torch.arange(LENGTH) < 2000).expand(1, 1, LENGTH)
    masked = measured(name, x, x_hat, mask)
    assert measured(name, x.masked_fill(~mask, 3.0), x_hat.masked_fill(~mask, -3.0), mask) == pytest.approx(masked)
    assert masked != pytest.approx(measured(name, x, x_hat))


def test_bits_per_second() -> None:
    metric = build("metric", "bitrate", model=MODEL)
    codes = torch.stack([torch.arange(63).expand(4, 63) % 4, torch.arange(4).unsqueeze(1).expand(4, 63) % 2], -1)
    x = torch.zeros(4, 1, LENGTH)
    metric.update(MODEL, ForwardOutput(Batch(x), Batch(x), Latent(x, x, codes=codes), x.unsqueeze(1), x[:, 0, 0]))
    bits = metric.compute()
    # 63 frames in half a second, with two levels of two bits each. The second level uses two codes equally often.
    assert float(bits["bitrate"]) == pytest.approx(126 * 4)
    assert float(bits["bitrate_entropy"]) == pytest.approx(126 * 3, rel=1e-3)


def test_metrics_are_for_waves() -> None:
    other = assemble({**CONFIG, "encoder": {"name": "mlp", "hidden": (4,)}}, DataSpec((8,), Domain("real")))
    for name in ("si_sdr", "mel_distance", "log_spectral_distance", "bitrate"):
        kind = type(build("metric", name, model=MODEL))
        assert kind.applies(MODEL)
        assert not kind.applies(other)


def test_principal_components_of_a_sine() -> None:
    """All frames of a sine lie in a plane, so that two components reconstruct it and one does not."""
    wave = torch.from_numpy(sine(6400, hertz=330.0).T).float()
    source = ConsecutiveSegments(PackedSounds.pack([wave]), 1600, labels=None)
    two = pca_si_sdr(source, source, frame=64, count=2, batch_size=2)
    one = pca_si_sdr(source, source, frame=64, count=1, batch_size=2)
    assert two > 60
    assert one < 10
