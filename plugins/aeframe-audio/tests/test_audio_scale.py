"""Floating-point sounds beyond -1 and 1: their full scale is found, or they are refused, never cut in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio_files import saved, sine
from numpy.typing import NDArray

from aeframe import AeframeError
from aeframe.data import Splits
from aeframe_audio.folder import AudioFolder
from aeframe_audio.modality import Audio

WAVE = sine(1600, amplitude=0.5)


def folder(path: Path, *extra: NDArray) -> Path:
    """Write six sounds of 16 bits, and floating-point ones from 6.wav on."""
    for number in range(6):
        saved(path / f"{number}.wav", WAVE)
    for number, wave in enumerate(extra):
        saved(path / f"{6 + number}.wav", wave, subtype="FLOAT")
    return path


def prepared(path: Path, modality: Audio | None = None, **options: Any) -> Splits:
    memory = options.pop("memory", 1)
    modality = modality or Audio(seconds=0.1, gate=None, **options)
    return modality.prepare(AudioFolder(path=path, max_memory_mb=memory))


def loudest(splits: Splits) -> float:
    sources = (splits.train, splits.validation, splits.test)
    return max(float(source.batch(torch.arange(len(source))).x.abs().max()) for source in sources)


@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize("bits", [16, 24, 32])
def test_values_of_integers_are_divided_by_their_full_scale(tmp_path: Path, bits: int, memory: int) -> None:
    scale = 2.0 ** (bits - 1)
    splits = prepared(folder(tmp_path, np.round(WAVE * scale).astype(np.float32)), memory=memory)
    assert loudest(splits) == pytest.approx(0.5, abs=1e-3)
    peak = f"{float(np.abs(np.round(WAVE * scale).astype(np.float32)).max()):.0f}"
    assert list(splits.notes) == [
        f"1 floating-point sound hold whole numbers up to {peak} ('{tmp_path}/6.wav'), as integers of {bits} bits; "
        f"they are divided by {scale:.0f} (modality.scale sets another full scale)"
    ]


def test_fractions_far_beyond_full_scale_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, WAVE * 32767)
    with pytest.raises(AeframeError) as caught:
        prepared(path)
    assert str(caught.value) == (
        f"audio '{path}/6.wav' has floating-point samples up to {32767 * np.abs(WAVE).max():.6g}, expected -1 to 1; "
        "set modality.scale=32768 if this is the full scale of such integers"
    )
    splits = prepared(path, scale=32768.0)
    assert loudest(splits) == pytest.approx(0.5, abs=1e-3)
    assert list(splits.notes) == []
    with pytest.raises(AeframeError, match=r"set modality.scale=5 if this is their full scale$"):
        prepared(folder(tmp_path / "loud", WAVE * 10 / np.abs(WAVE).max() / 2))
    with pytest.raises(AeframeError, match=r"whole numbers up to 16384, and audio '.*7.wav' fractions up to 0.5"):
        prepared(folder(tmp_path / "mixed", np.round(WAVE * 32768), WAVE))


@pytest.mark.parametrize("memory", [0, 1])
def test_slight_overshoot_is_clipped_with_a_note(tmp_path: Path, memory: int) -> None:
    wave = WAVE.copy()
    wave[[100, 700]] = [[1.02], [-1.01]]
    path = folder(tmp_path, wave)
    splits = prepared(path, memory=memory)
    assert loudest(splits) == pytest.approx(1.0, abs=1e-4)
    assert list(splits.notes) == [
        f"2 of the 1600 samples of 1 floating-point sound lie beyond -1 and 1, up to 1.020 ('{path}/6.wav'), and are "
        "clipped; modality.scale=1.02 keeps them"
    ]
    assert list(prepared(path, scale=1.02).notes) == []
    wave[:50] = 1.1
    with pytest.raises(AeframeError, match=r"up to 1.1, expected -1 to 1; set modality.scale=1.11 if"):
        prepared(folder(path, wave))


def test_overshoot_of_resampling_is_counted(tmp_path: Path) -> None:
    for number in range(4):
        saved(tmp_path / f"{number}.wav", np.sign(sine(1600, hertz=100)) * 0.999)
    (note,) = prepared(tmp_path, rate=6000).notes
    assert note.startswith("decoding or resampling puts ")
    assert "of 4800 samples beyond -1 and 1, up to 1.1" in note


def test_a_trained_model_reads_floats_of_any_scale(tmp_path: Path) -> None:
    modality = Audio(seconds=0.1)
    prepared(folder(tmp_path / "train", np.round(WAVE * 32768)), modality)
    restored = Audio(seconds=0.1)
    restored.load_state(modality.state())
    assert modality.state()["scale"] == 32768.0
    cases = {"whole": np.round(WAVE * 32768), "quiet": np.round(WAVE * 60), "usual": WAVE}
    peaks = {"whole": 0.5, "quiet": 30 / 32768, "usual": 0.5}
    for name, wave in cases.items():
        x = restored.read(saved(tmp_path / f"{name}.wav", wave, subtype="FLOAT")).x
        assert float(x.abs().max()) == pytest.approx(peaks[name], abs=1e-3)
    path = saved(tmp_path / "fractions.wav", WAVE * 32767, subtype="FLOAT")
    with pytest.raises(AeframeError, match="divide them by 32768 and save them again if this is the full scale"):
        restored.read(path)


def test_invalid_scale() -> None:
    with pytest.raises(AeframeError) as caught:
        Audio(scale=0.0)
    assert str(caught.value) == "modality 'audio' requires scale > 0, found 0"
