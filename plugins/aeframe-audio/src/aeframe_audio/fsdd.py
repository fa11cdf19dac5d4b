"""The dataset `fsdd`: Free Spoken Digit Dataset."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from aeframe.data import Dataset
from aeframe.data.downloads import Remote, data_folders, fetch, local
from aeframe.errors import AeframeError
from aeframe_audio.folder import first_format
from aeframe_audio.recordings import Files, RawSplits, Recording

_NAME = re.compile(r"(\d)_(\w+)_(\d+)\.wav")
_LOCAL_NAMES = ("fsdd.tar.gz", "audio/fsdd.tar.gz", "fsdd", "audio/fsdd")
_EXPECTED = "fsdd.tar.gz or a folder with its WAV files (github.com/Jakobovski/free-spoken-digit-dataset)"
# It has no checksum: the server creates the archive on demand, so that its bytes may differ.
_REMOTE = Remote(
    "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz", saved_as="fsdd.tar.gz"
)
_NUM_RECORDINGS = 3000


class FSDD(Dataset):
    """The Free Spoken Digit Dataset: 3,000 recordings of the digits by six speakers, 8 kHz mono (Jackson et al. 2018,
    CC BY-SA 4.0).

    Each speaker says each digit in 50 takes: takes 0-4 are for testing (the authors' split), 5-9 for validation and
    10-49 for training. ``extras["label"]`` is the digit.

    Args:
        path: The archive, or a folder with the WAV files. With null it is searched in the folder that the
            environment variable ``AEFRAME_DATA`` names and in ``~/.cache/aeframe``, and downloaded (15 MB) if it is in
            neither.
    """

    modality = "audio"

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = None if path is None else Path(path).expanduser()
        # The name of the dataset in error messages.
        self.who = "dataset 'fsdd'"

    def describe(self) -> Mapping[str, Any]:
        path = self._local_path()
        if path is None:
            # A config can be validated before the data are downloaded.
            return {"rate": 8000, "channels": 1}
        return first_format(self.who, self._recordings(path, first=True))

    def load(self) -> RawSplits:
        path = self._local_path() or fetch(_REMOTE, data_folders()[0], who=self.who, check=self._check_num_recordings)
        splits: dict[str, list[tuple[Recording, int]]] = {"train": [], "validation": [], "test": []}
        for recording in self._recordings(path):
            match = _NAME.fullmatch(Path(recording.name).name)
            assert match is not None
            digit, take = int(match[1]), int(match[3])
            split = "test" if take < 5 else "validation" if take < 10 else "train"
            splits[split].append((recording, digit))
        empty = next((split for split, recordings in splits.items() if not recordings), None)
        if empty is not None:
            raise AeframeError(f"{self.who}: '{path}' has no {empty} recordings; set data.path to {_EXPECTED}")
        return {
            split: Files([recording for recording, _ in pairs], torch.tensor([digit for _, digit in pairs]))
            for split, pairs in splits.items()
        }

    def _local_path(self) -> Path | None:
        """Return the archive or the folder, or None if it must be downloaded."""
        if self.path is not None and not self.path.exists():
            raise AeframeError(f"{self.who}: '{self.path}' does not exist; set data.path to {_EXPECTED}")
        return self.path or local(*_LOCAL_NAMES)

    def _check_num_recordings(self, path: Path) -> None:
        """Raise an error if a downloaded archive is incomplete."""
        num_recordings = len(self._recordings(path))
        if num_recordings != _NUM_RECORDINGS:
            raise AeframeError(f"{num_recordings} recordings, expected {_NUM_RECORDINGS}")

    def _recordings(self, path: Path, *, first: bool = False) -> list[Recording]:
        """Return the recordings sorted by name; with `first`, only the first in the archive."""
        recordings = self._in_folder(path) if path.is_dir() else self._in_archive(path, first=first)
        if not recordings:
            raise AeframeError(
                f"{self.who}: '{path}' has no files named DIGIT_SPEAKER_TAKE.wav; set data.path to {_EXPECTED}"
            )
        return sorted(recordings, key=lambda recording: recording.name)

    def _in_folder(self, folder: Path) -> list[Recording]:
        return [Recording(str(path), path) for path in folder.rglob("*.wav") if _NAME.fullmatch(path.name)]

    def _in_archive(self, path: Path, *, first: bool) -> list[Recording]:
        recordings: list[Recording] = []
        try:
            with tarfile.open(path, "r|*") as archive:
                for member in archive:
                    file = archive.extractfile(member) if _NAME.fullmatch(Path(member.name).name) else None
                    if file is not None:
                        recordings.append(Recording(f"{path.name}/{member.name}", file.read()))
                        if first:
                            break
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise AeframeError(
                f"{self.who}: '{path}' cannot be read as a tar archive; set data.path to {_EXPECTED}"
            ) from error
        return recordings
