"""Bad recordings in a run: one sentence with the file, and nothing written; or a list of what was left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audio_files import WAY_OUT, saved, sine

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

WORDS = ["modality=audio", "data=audio_folder", "data.path=sounds", "modality.seconds=0.05", "batch_size=4"]
SMALL = ["encoder.channels=[4,6,8]", "latent.dim=4"]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for number in range(12):
        saved(tmp_path / "sounds" / f"{number:02}.wav", sine(400 + number))
    return tmp_path / "sounds"


def test_a_recording_that_is_cut_off(sounds: Path) -> None:
    path = sounds / "03.wav"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    told = f"audio 'sounds/03.wav' is cut off: {len(whole) - 100} bytes where its header says {len(whole)}; {WAY_OUT}"
    assert run_expecting_error(sounds.parent, [*WORDS, *SMALL]) == told
    assert run_expecting_skipped(sounds.parent, [*WORDS, *SMALL, "modality.on_error=skip"]) == [told]


@pytest.mark.parametrize("max_memory_mb", [0, 1])
def test_every_bad_recording_is_listed(sounds: Path, max_memory_mb: int) -> None:
    saved(sounds / "04.wav", np.zeros((0, 1)))
    (sounds / "05.wav").write_text("no sound")
    samples = sine(400)
    samples[7] = np.nan
    saved(sounds / "06.wav", samples, subtype="FLOAT")
    words = [*WORDS, *SMALL, "modality.on_error=skip", f"data.max_memory_mb={max_memory_mb}"]
    assert sorted(run_expecting_skipped(sounds.parent, words)) == [
        f"audio 'sounds/04.wav' has no samples (length 0); {WAY_OUT}",
        f"audio 'sounds/05.wav' cannot be opened (Format not recognised); {WAY_OUT}",
        f"audio 'sounds/06.wav' has no number at sample 7 (NaN or infinite); {WAY_OUT}",
    ]


def test_another_rate_and_more_channels(sounds: Path) -> None:
    saved(sounds / "07.wav", sine(800, rate=16000), rate=16000)
    saved(sounds / "08.wav", sine(400, channels=2))
    assert run_expecting_error(sounds.parent, [*WORDS, *SMALL]) == (
        "audio 'sounds/07.wav' has 16000 Hz, where 8000 Hz is expected; bring all sounds to one with modality.rate=8000"
    )
    assert run_expecting_error(sounds.parent, [*WORDS, *SMALL, "modality.rate=8000"]) == (
        "audio 'sounds/08.wav' has 2 channels, where 1 is expected; bring all sounds to one with modality.channels=1"
    )
