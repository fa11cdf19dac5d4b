"""`FilledBatch` and `FilledSamples`: samples whose missing values were filled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from aeframe.data.sample_batches import SampleBatches


@dataclass(frozen=True, slots=True)
class FilledBatch:
    """Samples with filled values, on the CPU."""

    x: Tensor
    """``(B, *shape)``: the samples in the range of prepared data, NaN where they still have no value."""
    missing: Tensor
    """``(B, *shape)``: True where x was filled; elsewhere x is as it was."""
    rows: Tensor
    """``(B,)``: the number of each sample in its file (`Batch.index`), in ascending order."""


@dataclass(slots=True)
class FilledSamples:
    """Samples to write, which are filled by batch while they are written: iterate over them once."""

    batches: Iterable[FilledBatch]
    """The samples of each batch, in order."""
    num: int
    """The number of samples in all batches."""
    names: Sequence[str] | None = None
    """The name of each sample, from `Source.columns`; None for samples without names."""

    def __len__(self) -> int:
        return self.num

    def __iter__(self) -> Iterator[FilledBatch]:
        return iter(self.batches)

    def samples(self) -> SampleBatches:
        """Return the samples alone, for a format that is written without the original file."""
        return SampleBatches((batch.x for batch in self.batches), self.num, self.names)
