"""The raw data that datasets of this plugin load: waves in memory, or audio files to decode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor


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
    rates: list[int] | None = None
    """Samples per second of each sound; None if all have `rate`."""
    names: list[str] | None = None
    """The name of each sound in error messages; None for its number."""

    def __len__(self) -> int:
        return len(self.sounds)

    def __iter__(self) -> Iterator[tuple[Tensor, int, str]]:
        """Yield the samples ``(C, n)`` of each sound, its rate and its name."""
        for number, sound in enumerate(self.sounds):
            rate = self.rate if self.rates is None else self.rates[number]
            yield sound, rate, f"sound {number}" if self.names is None else self.names[number]

    def rows(self, index: Tensor) -> Waves:
        """Return the sounds at the positions `index` ``(n,)``."""
        numbers = index.tolist()
        return Waves(
            [self.sounds[i] for i in numbers],
            self.rate,
            None if self.labels is None else self.labels[index],
            None if self.rates is None else [self.rates[i] for i in numbers],
            None if self.names is None else [self.names[i] for i in numbers],
        )


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
