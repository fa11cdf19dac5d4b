"""What a dataset of sounds hands to the modality: waves in memory, or the recordings that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

OnError = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound in a file format: a path, or the bytes of a file inside an archive."""

    name: str
    """What messages call it."""
    content: Path | bytes = field(repr=False)


@dataclass(slots=True)
class Waves:
    """Sounds in memory, of any lengths."""

    sounds: list[Tensor]
    """``(C, n)`` each, float32 in [-1, 1]."""
    rate: int
    """Samples per second."""
    labels: Tensor | None = None
    """``(N,)`` int64."""

    def __len__(self) -> int:
        return len(self.sounds)

    def rows(self, index: Tensor) -> Waves:
        """Return some of the sounds."""
        sounds = [self.sounds[i] for i in index.tolist()]
        return Waves(sounds, self.rate, None if self.labels is None else self.labels[index])


@dataclass(slots=True)
class Files:
    """Recordings that are still to be decoded."""

    recordings: list[Recording]
    labels: Tensor | None = None
    """``(N,)`` int64."""
    max_memory_mb: int = 2048
    """Decoded sounds are kept in memory when those of all splits take no more than this, and read by segments
    otherwise."""

    def __len__(self) -> int:
        return len(self.recordings)

    def rows(self, index: Tensor) -> Files:
        """Return some of the recordings."""
        recordings = [self.recordings[i] for i in index.tolist()]
        return Files(recordings, None if self.labels is None else self.labels[index], self.max_memory_mb)


RawSplits = Mapping[str, Waves | Files]
"""What `Dataset.load` returns for this modality: one entry for each of `aeframe.data.random_split.SPLITS`."""
