"""The Free Spoken Digit Dataset."""

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
from aeframe_audio.folder import described
from aeframe_audio.recordings import Files, RawSplits, Recording

_NAME = re.compile(r"(\d)_(\w+)_(\d+)\.wav")
_PLACES = ("fsdd.tar.gz", "audio/fsdd.tar.gz", "fsdd", "audio/fsdd")
_WANTED = "fsdd.tar.gz or a folder with its WAV files (github.com/Jakobovski/free-spoken-digit-dataset)"
# Without a checksum: the server packs the archive when it is asked for.
_REMOTE = Remote(
    "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz", saved_as="fsdd.tar.gz"
)
_RECORDINGS = 3000


class FSDD(Dataset):
    """The Free Spoken Digit Dataset: 3,000 recordings of the digits by six speakers, 8 kHz mono (Jackson et al. 2018,
    CC BY-SA 4.0).

    Takes 0-4 of each digit and speaker test, as its authors say; takes 5-9 validate and 10-49 train.
    ``extras["label"]`` is the digit.

    Args:
        path: The archive, or a folder with the WAV files; null searches the folder that ``AEFRAME_DATA`` names and
            ``~/.cache/aeframe``, then downloads 15 MB.
    """

    modality = "audio"

    def __init__(self, *, path: Path | None = None) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.who = "dataset 'fsdd'"

    def describe(self) -> Mapping[str, Any]:
        here = self._here()
        if here is None:
            # A run is checked before its data are fetched.
            return {"rate": 8000, "channels": 1}
        return described(self.who, self._recordings(here, first=True))

    def load(self) -> RawSplits:
        path = self._here() or fetch(_REMOTE, data_folders()[0], who=self.who, check=self._check)
        recordings = self._recordings(path)
        takes: dict[str, list[tuple[Recording, int]]] = {"train": [], "validation": [], "test": []}
        for recording in recordings:
            named = _NAME.fullmatch(Path(recording.name).name)
            assert named is not None
            take = int(named[3])
            split = "test" if take < 5 else "validation" if take < 10 else "train"
            takes[split].append((recording, int(named[1])))
        empty = next((split for split, found in takes.items() if not found), None)
        if empty is not None:
            raise AeframeError(f"{self.who}: '{path}' has no {empty} recordings; give {_WANTED}")
        return {
            split: Files([each for each, _ in found], torch.tensor([digit for _, digit in found]))
            for split, found in takes.items()
        }

    def _here(self) -> Path | None:
        """Return the archive or the folder, or None where it is still to be fetched."""
        if self.path is not None and not self.path.exists():
            raise AeframeError(f"{self.who}: there is no '{self.path}'; set data.path to {_WANTED}")
        return self.path or local(*_PLACES)

    def _check(self, path: Path) -> None:
        found = len(self._recordings(path))
        if found != _RECORDINGS:
            raise AeframeError(f"{found} recordings where {_RECORDINGS} are expected")

    def _recordings(self, path: Path, *, first: bool = False) -> list[Recording]:
        """Return the recordings, or the first that is met."""
        found = self._in_folder(path) if path.is_dir() else self._in_archive(path, first=first)
        if not found:
            raise AeframeError(f"{self.who}: '{path}' has no files named DIGIT_SPEAKER_TAKE.wav; give {_WANTED}")
        return sorted(found, key=lambda recording: recording.name)

    def _in_folder(self, path: Path) -> list[Recording]:
        return [Recording(str(each), each) for each in path.rglob("*.wav") if _NAME.fullmatch(each.name)]

    def _in_archive(self, path: Path, *, first: bool) -> list[Recording]:
        found: list[Recording] = []
        try:
            with tarfile.open(path, "r|*") as archive:
                for member in archive:
                    file = archive.extractfile(member) if _NAME.fullmatch(Path(member.name).name) else None
                    if file is not None:
                        found.append(Recording(f"{path.name}/{member.name}", file.read()))
                        if first:
                            break
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise AeframeError(f"{self.who}: '{path}' cannot be read as a tar archive; give {_WANTED}") from error
        return found
