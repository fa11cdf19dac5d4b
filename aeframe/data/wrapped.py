"""What sources that add to another one have in common."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from aeframe.data.modality import Source


class Wrapped:
    """A source around another, with its rows and read as it is: in its order or its batches, where it has its own.

    Args:
        source: The one whose samples these are.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.in_memory = source, source.in_memory

    def __len__(self) -> int:
        return len(self.source)

    @property
    def order(self) -> Callable[[], Tensor] | None:
        """The source's own order, see `Source`."""
        return getattr(self.source, "order", None)

    @property
    def groups(self) -> Callable[[int, int], list[Tensor]] | None:
        """The source's own batches, see `Source`."""
        return getattr(self.source, "groups", None)
