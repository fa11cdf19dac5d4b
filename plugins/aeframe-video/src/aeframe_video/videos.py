"""The raw data that datasets of this plugin load.

Videos in memory are a `Stack` or `SharedStack` if they have one length and size, otherwise a `VideoList`. Files to
decode are `Files`.

The modality `video` divides the videos into clips, the samples of a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from aeframe_image.pictures import SharedStack, Stack


@dataclass(frozen=True, slots=True)
class VideoPart:
    """A part of a video file or of a folder of frames, between two fractions of its time; by default all of it.

    The splits of a single video are parts of it.
    """

    path: Path
    begin: float = 0.0
    end: float = 1.0
    title: str = ""
    """The name of the video in outputs, such as the path relative to a folder; by default the name of the file."""

    @property
    def name(self) -> str:
        """The name of the video in outputs."""
        return self.title or self.path.name


@dataclass(slots=True)
class Files:
    """N videos, or parts of them, that are not decoded yet."""

    parts: list[VideoPart]
    labels: Tensor | None = None
    """``(N,)`` int64, the class of each video."""
    max_memory_mb: int = 2048
    """If the decoded frames of all splits fit into this many megabytes, they are decoded once and kept in memory;
    otherwise the files are decoded again for each batch, only at the clips that it contains."""

    def __len__(self) -> int:
        return len(self.parts)

    def rows(self, index: Tensor) -> Files:
        """Return the videos at the positions `index` ``(n,)``."""
        parts = [self.parts[i] for i in index.tolist()]
        return Files(parts, None if self.labels is None else self.labels[index], self.max_memory_mb)


@dataclass(slots=True)
class VideoList:
    """N videos of different lengths or sizes in memory."""

    videos: list[Tensor]
    """``(F, C, H, W)`` uint8 each, with F frames."""
    numbers: list[int]
    """The place of each video in the list of the caller, for messages."""
    labels: Tensor | None = None
    """``(N,)`` int64, the class of each video."""

    def __len__(self) -> int:
        return len(self.videos)

    def rows(self, index: Tensor) -> VideoList:
        """Return the videos at the positions `index` ``(n,)``, without copying them."""
        return VideoList(
            [self.videos[i] for i in index.tolist()],
            [self.numbers[i] for i in index.tolist()],
            None if self.labels is None else self.labels[index],
        )


RawSplits = Mapping[str, Stack | SharedStack | VideoList | Files]
"""The return value of `Dataset.load`: one entry for each of `aeframe.data.random_split.SPLITS`."""


def split_by_time(splits: Mapping[str, Files], fractions: Mapping[str, float]) -> dict[str, Files]:
    """Return the splits of few training videos: missing ones are the end of each, validation before test.

    Neighbouring clips are too similar for a random split.
    """
    train, result, end = splits["train"], dict(splits), 1.0
    for name in ("test", "validation"):
        if name not in splits:
            begin = end - fractions[name]
            result[name] = replace(train, parts=[replace(part, begin=begin, end=end) for part in train.parts])
            end = begin
    result["train"] = replace(train, parts=[replace(part, begin=0.0, end=end) for part in train.parts])
    return result
