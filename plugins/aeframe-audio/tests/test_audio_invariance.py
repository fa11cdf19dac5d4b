"""Results of a segment do not depend on padding, on its batch or on the number of processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from audio_files import saved, sine
from torch import Tensor
from torch.nn import functional as F

from aeframe.data.modality import Source
from aeframe.testing.batch_invariance import (
    expect_batch_invariance,
    expect_invariant_metrics,
    outputs_per_sample,
    small_model,
)
from aeframe.testing.two_process_run import expect_two_processes_equal_one
from aeframe.types import DataSpec
from aeframe_audio.modality import Audio
from aeframe_audio.simulated import VowelsSimulated

SMALL: dict[str, Any] = {"channels": (4, 6, 8)}
SPECTRA: dict[str, Any] = {"penalties": {"stft": {"name": "stft"}, "mel": {"name": "mel"}}}
MODELS: dict[str, dict[str, Any]] = {
    "defaults and spectral distances": SPECTRA,
    "snr": {"encoder": {"name": "wave_conv", **SMALL, "causal": False}, "loss": "snr"},
    "spectrogram": {"encoder": {"name": "spectrogram", "channels": 8, "blocks": 1}, **SPECTRA},
}


def prepared() -> tuple[Audio, DataSpec, Source]:
    """Return vowels of 0.1 to 0.4 s, in segments of 0.25 s."""
    modality = Audio(seconds=0.25)
    dataset = VowelsSimulated(sounds=60, rate=4000, seconds=(0.1, 0.4))
    return modality, modality.spec(dataset), modality.prepare(dataset).validation


@pytest.mark.parametrize("parts", MODELS.values(), ids=MODELS)
def test_results_of_a_segment_depend_on_it_alone(parts: dict[str, Any]) -> None:
    modality, spec, source = prepared()
    model, batch = small_model(modality, spec, **parts), source.batch(torch.arange(len(source)))
    assert batch.mask is not None
    unpadded = batch.mask.flatten(1).all(1)
    assert unpadded.any()
    assert not unpadded.all()
    expect_batch_invariance(model, batch)
    # A source without short sounds has no mask.
    full = batch.rows(unpadded)
    for name, value in outputs_per_sample(model, replace(full, mask=None)).items():
        torch.testing.assert_close(value, outputs_per_sample(model, full)[name])


@pytest.mark.parametrize("loss", ["mae", "snr"])
def test_more_padding_changes_nothing(loss: str) -> None:
    # Only for causal networks with one code per frame: others depend on the length of the padding.
    modality, spec, source = prepared()
    batch = source.batch(torch.arange(len(source)))

    def padded(more: int) -> dict[str, Tensor]:
        parts = {"loss": loss, "latent": {"name": "point", "dim": 4, "spatial": True}, **SPECTRA}
        assert batch.mask is not None
        longer = replace(batch, x=F.pad(batch.x, (0, more)), mask=F.pad(batch.mask, (0, more)))
        return outputs_per_sample(
            small_model(modality, replace(spec, shape=tuple(longer.x.shape[1:])), **parts), longer
        )

    less, more = padded(0), padded(2000)
    for name, value in less.items():
        longer = more[name][..., : value.shape[-1]] if value.ndim > 1 else more[name]
        torch.testing.assert_close(longer, value, rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


def test_metrics_do_not_depend_on_the_batches() -> None:
    modality, spec, source = prepared()
    latent = {"name": "rvq", "dim": 4, "codebook_size": 8, "num_quantizers": 2}
    metrics = expect_invariant_metrics(small_model(modality, spec, latent=latent), modality, source)
    assert {"mse", "mae", "si_sdr", "mel_distance", "log_spectral_distance", "bitrate_entropy"} <= metrics.keys()


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(tmp_path: Path) -> None:
    # Sounds as long as a segment have only one offset. They are read from files, and some are shorter.
    for split, count in (("train", 24), ("val", 5), ("test", 5)):
        for number in range(count):
            short = split != "train" and number == 3
            saved(tmp_path / "sounds" / split / f"{number}.wav", sine(700 if short else 800, hertz=200 + 31 * number))
    data = ["modality=audio", "data=audio_folder", f"data.path={tmp_path / 'sounds'}", "data.max_memory_mb=0"]
    small = ["modality.seconds=0.1", "encoder.channels=[4,6,8]", "latent.dim=4", "batch_size=8"]
    expect_two_processes_equal_one(tmp_path, [*data, *small])
