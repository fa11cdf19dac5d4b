"""The raw data that datasets of this plugin load: waves in memory, or audio files to decode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Recording:
    """One encoded audio file, or a part of it: a path, or the bytes of a file in an archive."""

    name: str
    """The name of the file in error messages."""
    content: Path | bytes = field(repr=False)
    title: str = ""
    """The name of the recording in outputs, such as the path relative to a folder; by default the name of the file."""
    begin: float = 0.0
    end: float = 1.0
    """The part of the recording, as fractions of its samples. The splits of a single recording are parts of it."""

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", Path(self.name).name)

    def part(self, begin: float, end: float) -> Recording:
        """Return the part between two fractions of the file."""
        return replace(self, begin=begin, end=end)


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


def split_by_time(splits: Mapping[str, Files], fractions: Mapping[str, float]) -> dict[str, Files]:
    """Return the splits of few training recordings: missing ones are the end of each, validation before test.

    Neighbouring segments are too similar for a random split.

    Args:
        splits: The splits that the dataset has: at least ``train``.
        fractions: The fraction of the time for ``validation`` and for ``test``.
    """
    train, result, end = splits["train"], dict(splits), 1.0
    for name in ("test", "validation"):
        if name not in splits:
            begin = end - fractions[name]
            parts = [recording.part(begin, end) for recording in train.recordings]
            result[name] = replace(train, recordings=parts)
            end = begin
    result["train"] = replace(train, recordings=[recording.part(0.0, end) for recording in train.recordings])
    return result
