"""Data sources of cells: sparse counts in memory or in a file, dense batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from torch import Tensor

from aeframe.types import Batch
from aeframe_omics.cells import Rows
from aeframe_omics.counts import Counts

BLOCK_SIZE = 16
"""Consecutive cells of a file that are read together."""
FETCH_FACTOR = 256
"""Blocks that are read and shuffled together."""
TARGET_SUM = 1e4
"""Total count of a cell after normalisation."""


class CellSource:
    """Cells of a count matrix, returned as dense batches.

    Args:
        counts: Counts of all cells.
        rows: The cells of this source.
        log: Return log(1 + 10,000 count / library) instead of counts.
        library: ``(rows,)`` library sizes; None for values that are no counts.
        condition: ``(rows, C)`` covariates.
        extras: Further `Batch.extras`, tensors ``(rows,)``.
        views: ``(rows, P)`` values that are concatenated to the counts in x.
        names: The names of all cells; None for cells without names.
    """

    in_memory = True

    def __init__(
        self,
        counts: Counts,
        rows: Rows,
        *,
        log: bool,
        library: Tensor | None,
        condition: Tensor | None,
        extras: Mapping[str, Tensor],
        views: Tensor | None,
        names: Sequence[Any] | pd.Index[Any] | None = None,
    ) -> None:
        self._counts, self._rows, self._log, self._names = counts, rows, log, names
        # Everything but the counts; `batch` prepends these to the views in x.
        x_without_counts = torch.empty(len(rows), 0) if views is None else views
        self._stored = Batch(
            x_without_counts,
            condition=condition,
            index=torch.from_numpy(rows),
            extras={**({} if library is None else {"library": library}), **extras},
        )

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Rows:
        """The cells of this source, as rows of the count matrix."""
        return self._rows

    def batch(self, index: Tensor) -> Batch:
        """Return the cells `index` ``(B,)`` of this source."""
        batch = self._stored.map(lambda tensor: tensor.index_select(0, index))
        x = torch.from_numpy(self._sparse_counts(index.numpy()).toarray())
        if self._log:
            x = torch.log1p(x * (TARGET_SUM / batch.extras["library"]).unsqueeze(1))
        return batch.with_x(torch.cat([x, batch.x], 1) if batch.x.shape[1] else x)

    def columns(self, index: Tensor) -> Mapping[str, NDArray[Any]]:
        """Return the ``name`` of each of the cells `index` ``(n,)``, see `aeframe.data.Source`."""
        if self._names is None:
            return {}
        return {"name": np.array([str(self._names[row]) for row in self._rows[index.numpy()].tolist()])}

    def _sparse_counts(self, index: Rows) -> csr_matrix[Any]:
        """Return the counts of the cells `index` ``(B,)`` of this source, before normalisation."""
        return self._counts.rows(self._rows[index])


class BackedCellSource(CellSource):
    """A `CellSource` for counts in a file, with a random order that can be read efficiently.

    The order is random by blocks (as in scDataset, D'Ascenzo & Cultrera di Montesano 2025, arXiv 2506.01883): blocks of
    `BLOCK_SIZE` consecutive cells are shuffled, then the cells within each fetch of `FETCH_FACTOR` blocks. Batches of a
    file that is sorted by cell type are mixed, with a sixteenth of the reads of a random permutation.

    If cells are requested in this order, each fetch is read once and serves many batches. `in_memory` is True because
    worker processes would each read all fetches.
    """

    _order: Rows | None = None
    """The cells in the order of the current epoch."""
    _position: Rows | None = None
    """The inverse permutation: the position of each cell in that order."""
    _fetched: Mapping[int, csr_matrix[Any]]
    """The counts of the last fetches, by number."""

    def epoch_permutation(self) -> Tensor:
        """Return the cells ``(N,)`` in a new random order, drawn from torch's global generator."""
        blocks = torch.randperm(-(-len(self) // BLOCK_SIZE))
        cells = (blocks.unsqueeze(1) * BLOCK_SIZE + torch.arange(BLOCK_SIZE)).flatten()
        fetches = cells[cells < len(self)].split(BLOCK_SIZE * FETCH_FACTOR)
        order = torch.cat([fetch[torch.randperm(len(fetch))] for fetch in fetches])
        self._order, self._position, self._fetched = order.numpy(), order.argsort().numpy(), {}
        return order

    def _sparse_counts(self, index: Rows) -> csr_matrix[Any]:
        if self._order is None or self._position is None:
            return super()._sparse_counts(index)
        positions = self._position[index]
        numbers = np.unique(positions // (BLOCK_SIZE * FETCH_FACTOR)).tolist()
        if numbers[-1] - numbers[0] > 1:
            # In this order, a batch smaller than a fetch lies in one or two successive fetches. This one does not, so
            # the cells are requested in another order.
            return super()._sparse_counts(index)
        self._fetched = {number: self._fetch(number) for number in numbers}
        matrices = list(self._fetched.values())
        matrix = matrices[0] if len(matrices) == 1 else vstack(matrices, format="csr")
        return matrix[positions - numbers[0] * BLOCK_SIZE * FETCH_FACTOR]

    def _fetch(self, number: int) -> csr_matrix[Any]:
        """Return the counts of fetch `number` of the current order."""
        if number in self._fetched:
            return self._fetched[number]
        assert self._order is not None
        size = BLOCK_SIZE * FETCH_FACTOR
        return super()._sparse_counts(self._order[number * size : (number + 1) * size])
