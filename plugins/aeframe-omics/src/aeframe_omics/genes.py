"""Select genes of a count matrix by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.errors import AeframeError, did_you_mean
from aeframe_omics.cells import CellMetadata
from aeframe_omics.counts import Counts


class GeneSubset:
    """Some columns (genes) of a count matrix; implements `Counts`."""

    def __init__(self, counts: Counts, columns: NDArray[np.int64]) -> None:
        self._counts, self._columns, self.backed = counts, columns, counts.backed
        self.shape = (counts.shape[0], len(columns))

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        return self._counts.rows(index)[:, self._columns]


def select_genes(genes: tuple[str, ...], metadata: CellMetadata, counts: Counts) -> Counts:
    """Return the counts of `genes`, in this order, from a matrix whose columns are the genes of `metadata`.

    Raises:
        AeframeError: A gene is missing.
    """
    if genes == metadata.genes:
        return counts
    columns = {name: column for column, name in enumerate(metadata.genes)}
    missing = [name for name in genes if name not in columns]
    if missing:
        near = did_you_mean(missing[0], metadata.genes)
        raise AeframeError(
            f"{metadata.origin} lacks {len(missing)} of the {len(genes)} genes that the model was trained on, the "
            f"first is '{missing[0]}'{near}; add them (with count 0 if they were not measured)"
        )
    return GeneSubset(counts, np.array([columns[name] for name in genes]))
