"""Sounds prepared with the saved format and split of an earlier run."""

from __future__ import annotations

from pathlib import Path

from audio_files import saved, sine

from aeframe.testing.saved_state import assert_state_restores_data
from aeframe_audio.folder import AudioFolder
from aeframe_audio.modality import Audio
from aeframe_audio.simulated import VowelsSimulated


def test_simulated_sounds() -> None:
    assert_state_restores_data(lambda: Audio(seconds=0.1), lambda: VowelsSimulated(sounds=20))


def test_added_files_are_in_no_split(tmp_path: Path) -> None:
    for number in range(10):
        saved(tmp_path / f"{number}.wav", sine(400, hertz=200 + 50 * number))

    def change() -> None:
        # Sorted before the others, and at another rate, which would be an error if they were read.
        for number in range(5):
            saved(tmp_path / f"-{number}.wav", sine(400, hertz=1000), rate=16000)

    splits = assert_state_restores_data(lambda: Audio(seconds=0.02), lambda: AudioFolder(path=tmp_path), change=change)
    # Eight sounds of two and a half segments.
    assert len(splits.train) == 16
