"""The raw data that datasets of this plugin load: waves in memory, or audio files to decode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

OnError = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class Recording:
    """One encoded audio file: a path, or the bytes of a file in an archive."""

    name: str
    """The name of the file in error messages."""
    content: Path | bytes = field(repr=False)


@dataclass(slots=True)
class Waves:
    """N sounds in memory, of any lengths."""

    sounds: list[Tensor]
    """``(C, n)`` each, float32 in [-1, 1]."""
    rate: int
    """Samples per second."""
    labels: Tensor | None = None
    """``(N,)`` int64, the class of each sound."""

    def __len__(self) -> int:
        return len(self.sounds)

    def rows(self, index: Tensor) -> Waves:
        """Return the sounds at the positions `index` ``(n,)``."""
        sounds = [self.sounds[i] for i in index.tolist()]
        return Waves(sounds, self.rate, None if self.labels is None else self.labels[index])


@dataclass(slots=True)
class Files:
    """N audio files that are not decoded yet."""

    recordings: list[Recording]
    labels: Tensor | None = None
    """``(N,)`` int64, the class of each sound."""
    max_memory_mb: int = 2048
    """If the decoded sounds of all splits fit into this many megabytes, they are decoded once and kept in memory;
    otherwise the files are decoded again for each batch, only at the segments that it contains."""

    def __len__(self) -> int:
        return len(self.recordings)

    def rows(self, index: Tensor) -> Files:
        """Return the files at the positions `index` ``(n,)``."""
        recordings = [self.recordings[i] for i in index.tolist()]
        return Files(recordings, None if self.labels is None else self.labels[index], self.max_memory_mb)


RawSplits = Mapping[str, Waves | Files]
"""The return value of `Dataset.load`: one entry for each of `aeframe.data.random_split.SPLITS`."""
