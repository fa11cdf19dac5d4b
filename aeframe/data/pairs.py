"""Samples in pairs, for objectives that learn from what two of them share."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.data.modality import Source
from aeframe.data.wrapped import Wrapped
from aeframe.types import Batch

_AT_ONCE = 1024


class Paired(Wrapped):
    """A source whose every sample brings a partner (see `Batch.paired`), another one at each time of asking.

    The partner is any other sample of the same ``extras["label"]``, evenly; where there are no labels, or they are
    numbers and not classes, any other sample. One that is alone in its class is its own. All samples are read once,
    for their labels.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        labels = _labels(source)
        _, kind, counts = labels.unique(return_inverse=True, return_counts=True)
        self._count = counts[kind]
        self._first = (counts.cumsum(0) - counts)[kind]
        # Row numbers, class by class, and where each row stands among them.
        self._order = kind.argsort(stable=True)
        self._place = self._order.argsort()

    def batch(self, index: Tensor) -> Batch:
        """Return the samples of the rows `index` ``(B,)``, each with a partner."""
        count, first = self._count[index], self._first[index]
        step = 1 + (torch.rand(len(index)) * (count - 1)).long()
        partner = self._order[first + (self._place[index] - first + step) % count]
        return self.source.batch(index).paired(self.source.batch(partner))


def _labels(source: Source) -> Tensor:
    """Return ``(N,)`` whole numbers, the same where two samples may be partners."""
    rows = torch.arange(len(source)).split(_AT_ONCE)
    labels = [source.batch(index).extras.get("label") for index in rows]
    known = torch.cat([label for label in labels if label is not None]) if labels[0] is not None else None
    one_class = known is None or known.ndim > 1 or known.is_floating_point()
    return torch.zeros(len(source), dtype=torch.long) if one_class or known is None else known
