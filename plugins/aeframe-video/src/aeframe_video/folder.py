"""The dataset `video_files`: a video file, or folders of videos and of frames.

A dataset only lists the files. The modality `video` divides the videos into clips, its samples, and decodes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.data import Dataset
from aeframe.data.folders import first_opened, folder_splits, passed_over, path_keys, visible_files
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe_video.decode import EXTENSIONS, FRAME_EXTENSIONS, read_info
from aeframe_video.videos import Files, RawSplits, VideoPart, split_by_time

_FEW = 4
"""Below this number, videos are not split at random: at least two are needed for training."""


def find_videos(path: Path) -> list[Path]:
    """Return the videos below a folder at any depth, sorted: video files, and folders of frames.

    If `path` is a file, it is the only video. Hidden files and files of other types are ignored.
    """
    if not path.is_dir():
        return [path]
    videos: list[Path] = []
    for folder, names in visible_files(path):
        suffixes = {Path(name).suffix.lower() for name in names}
        files = [folder / name for name in names if Path(name).suffix.lower() in EXTENSIONS]
        videos.extend(files)
        if not files and suffixes & FRAME_EXTENSIONS:
            videos.append(folder)
    return sorted(videos)


def parts_of(paths: list[Path], folder: Path) -> list[VideoPart]:
    """Return whole videos below a folder; their names in outputs are paths relative to it."""
    return [VideoPart(path, title="" if path == folder else path.relative_to(folder).as_posix()) for path in paths]


class VideoFiles(Dataset):
    """A video (MP4, MOV, AVI, MKV, WebM, TS, GIF and more), or a folder of videos and folders of frames, at any depth.

    A folder with images and without videos is one video, with frames in the order of the numbers in their names.
    Sub-folders ``train``, ``val`` (or ``validation``) and ``test`` are the splits if ``train`` exists. Missing splits
    are drawn at random from the training videos. Of fewer than four videos each is split by time. If every video
    lies in a sub-folder named after its class, with at least two classes, ``extras["label"]`` is the position of the
    class in the sorted names.

    Args:
        path: The file or folder.
        validation: Fraction of the videos, or of the time of few videos, for validation.
        test: Fraction of the videos, or of the time of few videos, for testing.
        seed: Seed of the random splits.
        max_memory_mb: If all frames of the clips, resized and with one byte per value, fit into this many megabytes,
            they are decoded once and kept in memory. Otherwise the worker processes of the data loader decode the
            clips of each batch.
    """

    modality = "video"

    def __init__(
        self, *, path: Path, validation: float = 0.1, test: float = 0.1, seed: int = 0, max_memory_mb: int = 2048
    ) -> None:
        self.path = Path(path).expanduser()
        # Draws missing splits. The first argument, `splitter.who`, names the dataset in error messages.
        self.splitter = RandomSplit(
            f"dataset 'video_files' at '{path}'", "videos", validation=validation, test=test, seed=seed
        )
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return frame shape and rate of the first readable training video."""
        message = f"{self.splitter.who} has no video that can be decoded"
        info = first_opened(self._folder_splits()["train"].parts, lambda part: read_info(part.path), sentence=message)
        return {"shape": info.shape, "rate": info.rate}

    def load(self) -> RawSplits:
        splits = self._folder_splits()
        num, missing = len(splits["train"]), [name for name in self.splitter.fractions if name not in splits]
        if missing and num < _FEW:
            shares = " and ".join(f"{self.splitter.fractions[name]:.0%} for {name}" for name in missing)
            each = "1 video is" if num == 1 else f"{num} videos are each"
            self.notes.add(f"{self.splitter.who}: {each} split by time: the end is held out, {shares}")
            return split_by_time(splits, self.splitter.fractions)
        # `split_record`, inherited from `Dataset`, stores the drawn split by these keys: a later run of it uses the
        # same.
        keys = {split: path_keys(self.path, (part.path for part in files.parts)) for split, files in splits.items()}
        return self.splitter.complete(splits, self.split_record, keys)

    def _folder_splits(self) -> dict[str, Files]:
        """Return the splits that have a folder: at least ``train``. Each video is one part, from begin to end."""
        who = self.splitter.who
        if not self.path.exists():
            raise AeframeError(f"{who} expects a video or a folder, which does not exist; set data.path")
        if self.path.is_file():
            return {"train": Files([VideoPart(self.path)], labels=None, max_memory_mb=self.max_memory_mb)}
        expected = f"files that end in {', '.join(sorted(EXTENSIONS))}, or folders of images"
        folders = folder_splits(self.path, who=who, what="videos", find=find_videos, expected=expected)
        self.label_names = folders["train"].label_names
        if (note := passed_over(self.path, EXTENSIONS | FRAME_EXTENSIONS, "video")) is not None:
            self.notes.add(note)
        return {
            split: Files(parts_of(folder.paths, self.path), labels=folder.labels, max_memory_mb=self.max_memory_mb)
            for split, folder in folders.items()
        }
