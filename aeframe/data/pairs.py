"""`Paired`: pairs of samples of the same label, for objectives that compare two samples."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.data.modality import Source
from aeframe.data.source_wrapper import SourceWrapper
from aeframe.types import Batch

_CHUNK = 1024
"""Number of rows whose labels are read at a time."""


class Paired(SourceWrapper):
    """A source that adds a random partner to each sample (see `Batch.paired`), drawn anew for each batch.

    The partner is drawn uniformly from the other samples with the same ``extras["label"]``. Without integer labels it
    is drawn from all other samples. A sample that is the only one of its label is its own partner. The constructor
    reads the labels of all samples.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        labels = _labels(source)
        _, classes, counts = labels.unique(return_inverse=True, return_counts=True)
        self._class_size = counts[classes]
        self._class_start = (counts.cumsum(0) - counts)[classes]
        # Rows sorted by class, and the position of each row in that order.
        self._sorted_rows = classes.argsort(stable=True)
        self._position = self._sorted_rows.argsort()

    def batch(self, index: Tensor) -> Batch:
        """Return the samples of the rows `index` ``(B,)``, each with a partner."""
        size, start = self._class_size[index], self._class_start[index]
        # A random step within the class, cyclic. A step of less than the size leads to another row.
        step = 1 + (torch.rand(len(index)) * (size - 1)).long()
        partner = self._sorted_rows[start + (self._position[index] - start + step) % size]
        return self.source.batch(index).paired(self.source.batch(partner))


def _labels(source: Source) -> Tensor:
    """Return ``(N,)`` integer labels; all 0 if the source has none."""
    rows = torch.arange(len(source)).split(_CHUNK)
    labels = [source.batch(index).extras.get("label") for index in rows]
    all_labels = torch.cat([label for label in labels if label is not None]) if labels[0] is not None else None
    if all_labels is None or all_labels.ndim > 1 or all_labels.is_floating_point():
        return torch.zeros(len(source), dtype=torch.long)
    return all_labels
