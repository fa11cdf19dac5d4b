"""What a dataset of videos hands to the modality: stored clips, or the files that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from aeframe_image.pictures import Stack


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a video file or of a folder of frames, from one share of its frames to another, in [0, 1]."""

    path: Path
    begin: float = 0.0
    end: float = 1.0


@dataclass(slots=True)
class Files:
    """Videos that are still to be decoded."""

    parts: list[Part]
    labels: Tensor | None = None
    """``(N,)`` int64."""
    max_memory_mb: int = 2048
    """Decoded frames are kept in memory when those of all splits take no more than this, and decoded by batch
    otherwise."""

    def __len__(self) -> int:
        return len(self.parts)

    def rows(self, index: Tensor) -> Files:
        """Return some of the videos."""
        parts = [self.parts[i] for i in index.tolist()]
        return Files(parts, None if self.labels is None else self.labels[index], self.max_memory_mb)


RawSplits = Mapping[str, Stack | Files]
"""What `Dataset.load` returns for this modality: one entry for each of `aeframe.data.random_split.SPLITS`."""


def by_time(present: Mapping[str, Files], fractions: Mapping[str, float]) -> dict[str, Files]:
    """Share out a single training video: of the missing splits each gets a stretch at its end, in their order.

    Clips that stand side by side are too much alike to be shared out by chance.
    """
    train, splits, end = present["train"], dict(present), 1.0
    (part,) = train.parts
    for name in ("test", "validation"):
        if name not in present:
            begin = end - fractions[name]
            splits[name] = Files([Part(part.path, begin, end)], train.labels, train.max_memory_mb)
            end = begin
    splits["train"] = Files([Part(part.path, 0.0, end)], train.labels, train.max_memory_mb)
    return splits
