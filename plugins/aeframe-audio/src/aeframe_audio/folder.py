"""Folders of sound files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.data import Dataset
from aeframe.data.folders import files_below, first_opened, folder_splits, path_keys
from aeframe.data.random_split import RandomSplit
from aeframe_audio.decode import EXTENSIONS, read_header
from aeframe_audio.recordings import Files, RawSplits, Recording


def sounds_below(folder: Path) -> list[Path]:
    """Return the sound files in a folder and its sub-folders, sorted; hidden ones and other files are passed over."""
    return files_below(folder, EXTENSIONS)


def recordings_of(paths: list[Path]) -> list[Recording]:
    """Return files as recordings, which messages call by their paths."""
    return [Recording(str(path), path) for path in paths]


class AudioFolder(Dataset):
    """A folder of WAV, FLAC, OGG, MP3 or AIFF files, at any depth.

    Sub-folders ``train``, ``val`` (or ``validation``) and ``test`` are the splits where ``train`` is there; what is
    missing of the others is drawn from the training sounds, by the shares `validation` and `test` and by `seed`. Where
    all sounds lie in class folders (two or more), ``extras["label"]`` is the class's place in their sorted names.
    Sounds of different rates need ``modality.rate``, mono beside stereo needs ``modality.channels``.

    Up to `max_memory_mb` (with 16 bits, at the rate they are brought to) the sounds are decoded once, into memory;
    beyond it the segments that a batch needs are decoded when it is asked for, by ``workers``.

    Args:
        path: The folder.
        validation: Share of the training sounds for validation, where there is no folder for it.
        test: The same for testing.
        seed: Of that draw.
        max_memory_mb: Megabytes that decoded sounds may take.
    """

    modality = "audio"

    def __init__(
        self, *, path: Path, validation: float = 0.1, test: float = 0.1, seed: int = 0, max_memory_mb: int = 2048
    ) -> None:
        self.path = Path(path).expanduser()
        self.who = f"dataset 'audio_folder' at '{path}'"
        self.shares = RandomSplit(self.who, "sounds", validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return rate and channels of the first training sound whose header can be read."""
        return described(self.who, self._present()["train"].recordings)

    def load(self) -> RawSplits:
        present = self._present()
        keys = {
            split: path_keys(self.path, (Path(each.name) for each in files.recordings))
            for split, files in present.items()
        }
        return self.shares.complete(present, self.split_record, keys)

    def _present(self) -> dict[str, Files]:
        """Return the splits that the folder has: at least ``train``."""
        expected = f"files that end in {', '.join(sorted(EXTENSIONS))}"
        found = folder_splits(self.path, who=self.who, what="sounds", find=sounds_below, expected=expected)
        return {
            split: Files(recordings_of(each.paths), each.labels, self.max_memory_mb) for split, each in found.items()
        }


def described(who: str, recordings: list[Recording]) -> dict[str, Any]:
    """Return rate and channels of the first recording whose header can be read.

    Raises:
        AeframeError: There is none.
    """
    header = first_opened(recordings, read_header, sentence=f"{who} has no sound that can be opened")
    return {"rate": header.rate, "channels": header.channels}
