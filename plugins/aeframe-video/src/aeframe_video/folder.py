"""Video files, folders of them, and folders of frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, tensor

from aeframe.data import Dataset
from aeframe.errors import AeframeError
from aeframe_video.clips import Files, Part, RawSplits, Shares
from aeframe_video.decode import EXTENSIONS, FRAMES, find_track

_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def videos_below(path: Path) -> list[Path]:
    """Return a video, or those in a folder at any depth, sorted: files, and folders that hold frames.

    Hidden ones and other files are passed over.
    """
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    seen: set[str] = set()
    # Class folders are often links, which may also run in circles.
    for root, folders, names in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        suffixes = {Path(name).suffix.lower() for name in names if not name.startswith(".")}
        videos = [name for name in names if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS]
        found.extend(Path(root, name) for name in videos)
        if not videos and suffixes & FRAMES:
            found.append(Path(root))
    return sorted(found)


class VideoFiles(Dataset):
    """A video (MP4, MOV, AVI, MKV, WebM, MPEG, GIF), or a folder of videos and of folders of frames, at any depth.

    A folder with pictures and no videos in it is one video; its frames are in the order of the numbers in their names.
    Sub-folders ``train``, ``val`` (or ``validation``) and ``test`` are the splits where ``train`` is there; what is
    missing of the others is drawn from the training videos, by the shares `validation` and `test` and by `seed`. A
    single video is shared out by time: its last stretches are for validation and test. Where all videos lie in class
    folders (two or more), ``extras["label"]`` is the class's place in their sorted names.

    Args:
        path: The file or folder.
        validation: Share of the videos, or of the one video's time, for validation.
        test: The same for test.
        seed: Of the draw.
        max_memory_mb: Up to this (as uint8, after fitting) clips are decoded once, into memory; beyond it in each
            epoch, by ``workers``.
    """

    modality = "video"

    def __init__(
        self, *, path: str, validation: float = 0.1, test: float = 0.1, seed: int = 0, max_memory_mb: int = 2048
    ) -> None:
        self.path = Path(path).expanduser()
        self.shares = Shares(f"dataset 'video_files' at '{path}'", validation, test, seed)
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return shape and rate of the first training video that can be opened."""
        first: AeframeError | None = None
        for part in self._present()["train"].parts:
            try:
                track = find_track(part.path)
            except AeframeError as error:
                first = first or error
            else:
                return {"shape": track.shape, "rate": track.rate}
        raise AeframeError(f"{self.shares.who} has no video that can be decoded; the first: {first}") from first

    def load(self) -> RawSplits:
        return self.shares.complete(self._present())

    def _present(self) -> dict[str, Files]:
        """Return the splits that the folder has: at least ``train``."""
        if not self.path.exists():
            raise AeframeError(f"{self.shares.who} expects a video or a folder, which does not exist; set data.path")
        roots = self._split_folders() if self.path.is_dir() else {"train": self.path}
        found = {split: videos_below(root) for split, root in roots.items()}
        empty = next((split for split, paths in found.items() if not paths), None)
        if empty is not None:
            raise AeframeError(
                f"{self.shares.who} has no videos in '{roots[empty]}'; expected files that end in "
                f"{', '.join(sorted(EXTENSIONS))}, or folders of pictures"
            )
        if roots["train"] != self.path:
            inside = {path for paths in found.values() for path in paths}
            stray = next((path for path in videos_below(self.path) if path not in inside), None)
            if stray is not None:
                raise AeframeError(
                    f"{self.shares.who} has split folders, but also videos outside them, such as '{stray}'; "
                    "move them into a split, or out of the folder"
                )
        classes = _classes([path.relative_to(roots[split]).parts for split, paths in found.items() for path in paths])
        return {
            split: Files([Part(path) for path in paths], _labels(roots[split], paths, classes), self.max_memory_mb)
            for split, paths in found.items()
        }

    def _split_folders(self) -> dict[str, Path]:
        roots: dict[str, Path] = {}
        for folder in sorted(p for p in self.path.iterdir() if p.is_dir() and p.name.lower() in _SPLIT_FOLDERS):
            split = _SPLIT_FOLDERS[folder.name.lower()]
            if split in roots:
                raise AeframeError(
                    f"{self.shares.who} has two folders for the {split} split, '{roots[split].name}' and "
                    f"'{folder.name}'; rename or merge one"
                )
            roots[split] = folder
        if roots and "train" not in roots:
            name = next(iter(roots.values())).name
            raise AeframeError(
                f"{self.shares.who} has a split folder '{name}' but no 'train'; add it, or rename '{name}'"
            )
        return roots or {"train": self.path}


def _classes(parts: list[tuple[str, ...]]) -> list[str]:
    """Return the names of the class folders, sorted; none where not all videos lie in one of several."""
    names = sorted({part[0] for part in parts if len(part) > 1})
    return names if len(names) > 1 and all(len(part) > 1 for part in parts) else []


def _labels(root: Path, paths: list[Path], classes: list[str]) -> Tensor | None:
    return tensor([classes.index(path.relative_to(root).parts[0]) for path in paths]) if classes else None
