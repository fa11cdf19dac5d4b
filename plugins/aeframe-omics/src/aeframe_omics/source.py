"""From sparse counts to dense batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from torch import Tensor

from aeframe.types import Batch
from aeframe_omics.cells import Rows
from aeframe_omics.counts import Counts

BLOCK, FETCH = 16, 256
"""Cells that are read together because they stand together, and how many such blocks are shuffled at a time."""
TARGET = 1e4
"""Counts that each cell has once it is normalised by its library."""


class CellSource:
    """Some cells of a matrix of counts, made dense as a batch is asked for.

    Args:
        counts: Of all cells.
        rows: Those that this source has.
        log: Give log(1 + 10,000 count / library) instead of the count.
        library: ``(rows,)`` each cell's total.
        condition: ``(rows, C)``.
        extras: ``(rows,)`` each.
        views: ``(rows, P)`` what stands beside the counts in x.
    """

    in_memory = True

    def __init__(
        self,
        counts: Counts,
        rows: Rows,
        *,
        log: bool,
        library: Tensor,
        condition: Tensor | None,
        extras: Mapping[str, Tensor],
        views: Tensor | None,
    ) -> None:
        self._counts, self._rows, self._log = counts, rows, log
        # x is put together for each batch; what is stored in its place is what stands beside the counts.
        like = torch.empty(len(rows), 0) if views is None else views
        self._stored = Batch(like, None, condition, torch.from_numpy(rows), {"library": library, **extras})

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, index: Tensor) -> Batch:
        """Return the cells `index` ``(B,)`` of this source."""
        batch = self._stored.map(lambda tensor: tensor.index_select(0, index))
        x = torch.from_numpy(self._sparse(index.numpy()).toarray())
        if self._log:
            x = torch.log1p(x * (TARGET / batch.extras["library"]).unsqueeze(1))
        return batch.with_x(torch.cat([x, batch.x], 1) if batch.x.shape[1] else x)

    def _sparse(self, index: Rows) -> csr_matrix[Any]:
        return self._counts.rows(self._rows[index])


class BackedCellSource(CellSource):
    """The same for counts in a file, read many batches at a time when they are asked for in the source's own order.

    That order is random by blocks (as in scDataset, D'Ascenzo & Cultrera di Montesano 2025, arXiv 2506.01883): blocks
    of `BLOCK` cells that stand together are shuffled, and the cells of each `FETCH` blocks among themselves. A file
    that is sorted by cell type gives mixed batches so, in a sixteenth of the reads.

    It counts as in memory, since it reads a stretch that serves many batches: worker processes would each read it.
    """

    _order: Rows | None = None
    _place: Rows | None = None
    _held: Mapping[int, csr_matrix[Any]]

    def epoch_permutation(self) -> Tensor:
        """Return the cells ``(N,)`` in a new order, drawn from torch's generator."""
        blocks = torch.randperm(-(-len(self) // BLOCK))
        cells = (blocks.unsqueeze(1) * BLOCK + torch.arange(BLOCK)).flatten()
        stretches = cells[cells < len(self)].split(BLOCK * FETCH)
        order = torch.cat([stretch[torch.randperm(len(stretch))] for stretch in stretches])
        self._order, self._place, self._held = order.numpy(), order.argsort().numpy(), {}
        return order

    def _sparse(self, index: Rows) -> csr_matrix[Any]:
        if self._order is None or self._place is None:
            return super()._sparse(index)
        place = self._place[index]
        stretches = np.unique(place // (BLOCK * FETCH)).tolist()
        if stretches[-1] - stretches[0] > 1:
            # Asked for in another order than this source's.
            return super()._sparse(index)
        self._held = {number: self._stretch(number) for number in stretches}
        held = list(self._held.values())
        matrix = held[0] if len(held) == 1 else vstack(held, format="csr")
        return matrix[place - stretches[0] * BLOCK * FETCH]

    def _stretch(self, number: int) -> csr_matrix[Any]:
        if number in self._held:
            return self._held[number]
        assert self._order is not None
        return super()._sparse(self._order[number * BLOCK * FETCH : (number + 1) * BLOCK * FETCH])
