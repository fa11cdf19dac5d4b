"""Folders of sound files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aeframe.data import Dataset
from aeframe.errors import AeframeError
from aeframe_audio.decode import EXTENSIONS, read_header
from aeframe_audio.recordings import Files, RawSplits, Recording
from aeframe_audio.split import Shares

_SPLIT_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def sounds_below(folder: Path) -> list[Path]:
    """Return the sound files in a folder and its sub-folders, sorted; hidden ones and other files are passed over."""
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = (name for name in files if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS)
        found.extend(Path(root, name) for name in names)
    return sorted(found)


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
        self, *, path: str, validation: float = 0.1, test: float = 0.1, seed: int = 0, max_memory_mb: int = 2048
    ) -> None:
        self.path = Path(path).expanduser()
        self.who = f"dataset 'audio_folder' at '{path}'"
        self.shares = Shares(self.who, validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return rate and channels of the first training sound whose header can be read."""
        return described(self.who, self._present()["train"].recordings)

    def load(self) -> RawSplits:
        return self.shares.complete(self._present())

    def _present(self) -> dict[str, Files]:
        """Return the splits that the folder has: at least ``train``."""
        if not self.path.is_dir():
            found = "found a file" if self.path.is_file() else "which does not exist"
            raise AeframeError(f"{self.who} expects a folder, {found}; set data.path to a folder of sounds")
        roots = self._roots()
        paths = {split: sounds_below(root) for split, root in roots.items()}
        empty = next((split for split, found_paths in paths.items() if not found_paths), None)
        if empty is not None:
            raise AeframeError(
                f"{self.who} has no sounds in '{roots[empty]}'; expected files that end in "
                f"{', '.join(sorted(EXTENSIONS))}"
            )
        inside = {path for found_paths in paths.values() for path in found_paths}
        stray = next((path for path in sounds_below(self.path) if path not in inside), None)
        if stray is not None:
            raise AeframeError(
                f"{self.who} has split folders, but also sounds outside them, such as '{stray}'; "
                "move them into a split, or out of the folder"
            )
        classes = _classes(roots, paths)
        return {
            split: Files(recordings_of(found), _labels(roots[split], found, classes), self.max_memory_mb)
            for split, found in paths.items()
        }

    def _roots(self) -> dict[str, Path]:
        roots: dict[str, Path] = {}
        for folder in sorted(p for p in self.path.iterdir() if p.is_dir() and p.name.lower() in _SPLIT_FOLDERS):
            split = _SPLIT_FOLDERS[folder.name.lower()]
            if split in roots:
                raise AeframeError(
                    f"{self.who} has two folders for the {split} split, '{roots[split].name}' and '{folder.name}'; "
                    "rename or merge one"
                )
            roots[split] = folder
        if roots and "train" not in roots:
            name = next(iter(roots.values())).name
            raise AeframeError(f"{self.who} has a split folder '{name}' but no 'train'; add it, or rename '{name}'")
        return roots or {"train": self.path}


def described(who: str, recordings: list[Recording]) -> dict[str, Any]:
    """Return rate and channels of the first recording whose header can be read.

    Raises:
        AeframeError: There is none.
    """
    first: AeframeError | None = None
    for recording in recordings:
        try:
            header = read_header(recording)
        except AeframeError as error:
            first = first or error
        else:
            return {"rate": header.rate, "channels": header.channels}
    raise AeframeError(f"{who} has no sound that can be opened; the first: {first}") from first


def _classes(roots: Mapping[str, Path], paths: Mapping[str, list[Path]]) -> dict[str, int] | None:
    parts = [path.relative_to(roots[split]).parts for split, found in paths.items() for path in found]
    names = sorted({part[0] for part in parts})
    if len(names) < 2 or any(len(part) == 1 for part in parts):
        return None
    return {name: number for number, name in enumerate(names)}


def _labels(root: Path, paths: list[Path], classes: Mapping[str, int] | None) -> Tensor | None:
    if classes is None:
        return None
    return torch.tensor([classes[path.relative_to(root).parts[0]] for path in paths])
