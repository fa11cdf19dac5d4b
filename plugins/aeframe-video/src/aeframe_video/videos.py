"""The raw data that datasets of this plugin load: videos in memory (`Stack`), or video files to decode (`Files`).

The modality `video` divides the videos into clips, the samples of a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from aeframe_image.pictures import Stack


@dataclass(frozen=True, slots=True)
class VideoPart:
    """A part of a video file or of a folder of frames, between two fractions of its frames; by default all of it.

    The splits of a single video are parts of it.
    """

    path: Path
    begin: float = 0.0
    end: float = 1.0


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


RawSplits = Mapping[str, Stack | Files]
"""The return value of `Dataset.load`: one entry for each of `aeframe.data.random_split.SPLITS`."""


def split_by_time(splits: Mapping[str, Files], fractions: Mapping[str, float]) -> dict[str, Files]:
    """Return the splits of a single training video: missing ones are taken from its end, validation before test.

    Neighbouring clips are too similar for a random split.
    """
    train, result, end = splits["train"], dict(splits), 1.0
    (part,) = train.parts
    for name in ("test", "validation"):
        if name not in splits:
            begin = end - fractions[name]
            result[name] = replace(train, parts=[VideoPart(part.path, begin, end)])
            end = begin
    result["train"] = replace(train, parts=[VideoPart(part.path, 0.0, end)])
    return result
