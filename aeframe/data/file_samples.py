"""`FileSamples`: the samples of a file or folder, which are read by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.types import Batch

if TYPE_CHECKING:
    from aeframe.data.modality import Source

OnError = Literal["raise", "skip"]
"""What happens to a bad file or row: ``raise`` stops with an error, ``skip`` leaves it out and lists it."""


@dataclass(slots=True)
class FileSamples:
    """The samples of a file or folder, prepared as in training, as `Modality.open` returns them."""

    source: Source
    """The samples. `Batch.index` is the number of each sample in the file, in which skipped ones are counted too."""
    skipped: list[str] = field(default_factory=list)
    """One sentence for each bad file or row that was left out."""

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all samples in order, `batch_size` at a time."""
        for index in torch.arange(len(self.source)).split(batch_size):
            yield self.source.batch(index)

    def batch(self) -> Batch:
        """Return all samples as one batch."""
        return self.source.batch(torch.arange(len(self.source)))


def columns_of(source: Source, index: Tensor) -> Mapping[str, NDArray[Any]]:
    """Return what identifies the samples of the rows `index` ``(n,)``: arrays ``(n,)`` by name, see `Source`."""
    columns = getattr(source, "columns", None)
    return {} if columns is None else columns(index)


def names_of(source: Source) -> list[str] | None:
    """Return the name of each sample, such as its file name or its row id; None for samples without names."""
    names = columns_of(source, torch.arange(len(source))).get("name")
    return None if names is None else [str(name) for name in names]
