"""Sparse count matrices that return some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

_CHUNK = 4096
"""Rows that `iterate_chunks` yields at a time."""


class Counts(Protocol):
    """A sparse matrix of counts, cells by genes."""

    shape: tuple[int, int]
    backed: bool
    """Whether the matrix stays in its file."""

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        """Return the rows `index`, in this order, as float32."""
        ...


class MemoryCounts:
    """A CSR matrix in memory, whose indices must have been checked."""

    backed = False

    def __init__(self, matrix: csr_matrix[Any]) -> None:
        self._matrix = csr_matrix(
            (matrix.data.astype(np.float32, copy=False), matrix.indices, matrix.indptr), matrix.shape
        )
        self.shape: tuple[int, int] = matrix.shape

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        return self._matrix[index]


class RoundedCounts:
    """A count matrix whose fractions are rounded to the nearest whole number; implements `Counts`."""

    def __init__(self, counts: Counts) -> None:
        self._counts, self.shape, self.backed = counts, counts.shape, counts.backed

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        matrix = self._counts.rows(index)
        rounded = csr_matrix((np.rint(matrix.data), matrix.indices, matrix.indptr), matrix.shape)
        rounded.eliminate_zeros()
        return rounded


def iterate_chunks(counts: Counts, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], csr_matrix[Any]]]:
    """Yield row numbers and counts of up to 4096 rows at a time, in order."""
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        yield chunk, counts.rows(chunk)
