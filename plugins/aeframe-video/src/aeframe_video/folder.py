"""Video files, folders of them, and folders of frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.data import Dataset
from aeframe.data.folders import first_opened, folder_splits, path_keys, visible_files
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe_video.clips import Files, Part, RawSplits, by_time
from aeframe_video.decode import EXTENSIONS, FRAMES, find_track


def videos_below(path: Path) -> list[Path]:
    """Return a video, or those in a folder at any depth, sorted: files, and folders that hold frames.

    Hidden ones and other files are passed over.
    """
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, names in visible_files(path):
        suffixes = {Path(name).suffix.lower() for name in names}
        videos = [name for name in names if Path(name).suffix.lower() in EXTENSIONS]
        found.extend(folder / name for name in videos)
        if not videos and suffixes & FRAMES:
            found.append(folder)
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
        self, *, path: Path, validation: float = 0.1, test: float = 0.1, seed: int = 0, max_memory_mb: int = 2048
    ) -> None:
        self.path = Path(path).expanduser()
        self.shares = RandomSplit(
            f"dataset 'video_files' at '{path}'", "videos", validation=validation, test=test, seed=seed
        )
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return shape and rate of the first training video that can be opened."""
        sentence = f"{self.shares.who} has no video that can be decoded"
        track = first_opened(self._present()["train"].parts, lambda part: find_track(part.path), sentence=sentence)
        return {"shape": track.shape, "rate": track.rate}

    def load(self) -> RawSplits:
        present = self._present()
        if len(present["train"]) == 1:
            return by_time(present, self.shares.fractions)
        keys = {split: path_keys(self.path, (part.path for part in files.parts)) for split, files in present.items()}
        return self.shares.complete(present, self.split_record, keys)

    def _present(self) -> dict[str, Files]:
        """Return the splits that the folder has: at least ``train``."""
        who = self.shares.who
        if not self.path.exists():
            raise AeframeError(f"{who} expects a video or a folder, which does not exist; set data.path")
        if self.path.is_file():
            return {"train": Files([Part(self.path)], None, self.max_memory_mb)}
        expected = f"files that end in {', '.join(sorted(EXTENSIONS))}, or folders of pictures"
        found = folder_splits(self.path, who=who, what="videos", find=videos_below, expected=expected)
        return {
            split: Files([Part(path) for path in each.paths], each.labels, self.max_memory_mb)
            for split, each in found.items()
        }
