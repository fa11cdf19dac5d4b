"""`SourceWrapper`: base class of sources that add something to the samples of another source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.modality import Source


class SourceWrapper:
    """A source with the rows, order and batches of another one; subclasses define `batch`.

    Args:
        source: The wrapped source.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.in_memory = source, source.in_memory

    def __len__(self) -> int:
        return len(self.source)

    @property
    def columns(self) -> Callable[[Tensor], Mapping[str, NDArray[Any]]] | None:
        """The wrapped source's optional method of this name, or None (see `Source`)."""
        return getattr(self.source, "columns", None)

    @property
    def epoch_permutation(self) -> Callable[[], Tensor] | None:
        """The wrapped source's optional method of this name, or None (see `Source`)."""
        return getattr(self.source, "epoch_permutation", None)

    @property
    def batch_indices(self) -> Callable[[int], list[Tensor]] | None:
        """The wrapped source's optional method of this name, or None (see `Source`)."""
        return getattr(self.source, "batch_indices", None)
