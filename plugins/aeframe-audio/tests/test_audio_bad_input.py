"""Bad sound files in a run: an error with the file and no output, or a list of skipped files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audio_files import NEXT_STEP, saved, sine

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

OVERRIDES = ["modality=audio", "data=audio_folder", "data.path=sounds", "modality.seconds=0.05", "batch_size=4"]
SMALL = ["encoder.channels=[4,6,8]", "latent.dim=4"]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for number in range(12):
        saved(tmp_path / "sounds" / f"{number:02}.wav", sine(400 + number))
    return tmp_path / "sounds"


def test_truncated_file(sounds: Path) -> None:
    path = sounds / "03.wav"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    message = (
        "audio 'sounds/03.wav' is truncated: 100 of the bytes of sound that its header states are missing at the end; "
        f"{NEXT_STEP}"
    )
    assert run_expecting_error(sounds.parent, [*OVERRIDES, *SMALL]) == message
    assert run_expecting_skipped(sounds.parent, [*OVERRIDES, *SMALL, "modality.on_error=skip"]) == [message]


@pytest.mark.parametrize("max_memory_mb", [0, 1])
def test_all_bad_files_are_listed(sounds: Path, max_memory_mb: int) -> None:
    saved(sounds / "04.wav", np.zeros((0, 1)))
    (sounds / "05.wav").write_text("not a sound")
    samples = sine(400)
    samples[7] = np.nan
    saved(sounds / "06.wav", samples, subtype="FLOAT")
    overrides = [*OVERRIDES, *SMALL, "modality.on_error=skip", f"data.max_memory_mb={max_memory_mb}"]
    assert sorted(run_expecting_skipped(sounds.parent, overrides)) == [
        f"audio 'sounds/04.wav' has no samples (length 0); {NEXT_STEP}",
        f"audio 'sounds/05.wav' cannot be opened (Format not recognised); {NEXT_STEP}",
        f"audio 'sounds/06.wav' is NaN or infinite at sample 7; {NEXT_STEP}",
    ]


def test_another_rate_and_more_channels(sounds: Path) -> None:
    saved(sounds / "07.wav", sine(800, rate=16000), rate=16000)
    saved(sounds / "08.wav", sine(400, channels=2))
    assert run_expecting_error(sounds.parent, [*OVERRIDES, *SMALL]) == (
        "audio 'sounds/07.wav' has 16000 Hz, expected 8000 Hz; convert all sounds with modality.rate=8000"
    )
    assert run_expecting_error(sounds.parent, [*OVERRIDES, *SMALL, "modality.rate=8000"]) == (
        "audio 'sounds/08.wav' has 2 channels, expected 1 channel; convert all sounds with modality.channels=1"
    )
