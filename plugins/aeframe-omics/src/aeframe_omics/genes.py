"""Bring the genes of a file into the order that a model knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.errors import AeframeError
from aeframe_omics.cells import Known
from aeframe_omics.counts import Counts


class _Ordered:
    """Some columns of a matrix of counts."""

    backed = False

    def __init__(self, counts: Counts, columns: NDArray[np.int64]) -> None:
        self._counts, self._columns = counts, columns
        self.shape = (counts.shape[0], len(columns))

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        return self._counts.rows(index)[:, self._columns]


def in_the_order_of(genes: tuple[str, ...], found: Known, counts: Counts) -> Counts:
    """Return the counts of `genes`, which are looked for by name among those of `found`.

    Raises:
        AeframeError: A gene that is not there.
    """
    if genes == found.genes:
        return counts
    place = {name: column for column, name in enumerate(found.genes)}
    missing = [name for name in genes if name not in place]
    if missing:
        raise AeframeError(
            f"{found.origin} lacks {len(missing)} of the {len(genes)} genes that the model was trained on, the first "
            f"is '{missing[0]}'; add them (with count 0 if they were not measured)"
        )
    return _Ordered(counts, np.array([place[name] for name in genes]))
