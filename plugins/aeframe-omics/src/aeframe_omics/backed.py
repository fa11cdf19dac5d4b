"""Count matrices that stay in a file, of which some rows are read at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from aeframe.data.limits import check_memory
from aeframe.data.sparse_checks import check_indices, check_pointers
from aeframe.errors import AeframeError
from aeframe_omics.stores import open_store, unreadable_file_error

_MAX_GAP = 8
"""Rows of a file closer than this are read together with the rows between them."""
_DENSE_VALUES = 1 << 24
"""Values of a dense matrix that are read at a time."""


class _StoredMatrix:
    """A matrix in a file. Each process opens the file itself."""

    backed = True
    shape: tuple[int, int]

    def __init__(self, path: Path, key: str, *, origin: str) -> None:
        self.path, self.key, self._origin = path, key, origin
        self._root: Any = None

    def __getstate__(self) -> dict[str, Any]:
        # Open HDF5 files cannot be shared between processes.
        return {**self.__dict__, "_root": None}

    def _node(self) -> Any:
        if self._root is None:
            self._root = open_store(self.path)
        return self._root[self.key]

    def _check_type(self, dtype: np.dtype[Any]) -> None:
        if dtype.kind not in "fiub":
            raise AeframeError(f"{self._origin}: '{self.key}' has values of type {dtype}, expected numbers")

    def _spans(self, index: NDArray[np.int64]) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
        """Return runs ``(start, stop)`` of rows that contain the rows `index`, and all rows of these runs."""
        requested = np.unique(index)
        # Reading a few unneeded rows is faster than a separate read.
        parts = np.split(requested, np.flatnonzero(np.diff(requested) > _MAX_GAP) + 1)
        spans = [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]
        return spans, np.concatenate([np.arange(start, stop) for start, stop in spans] or [requested])


class BackedCounts(_StoredMatrix):
    """A CSR matrix in a file; only its row pointers are in memory.

    Rows close to each other are read together. The column indices of a row need not be sorted.

    Args:
        path: The file.
        key: The name of the matrix in the file, such as ``X`` or ``layers/raw``.
        origin: The dataset, for messages.
        shape: ``(cells, genes)``; None takes the shape that AnnData writes beside the matrix.

    Raises:
        AeframeError: A matrix that is not stored as CSR, or invalid row pointers; from `rows`, damaged values or
            indices.
    """

    def __init__(self, path: Path, key: str, *, origin: str, shape: tuple[int, int] | None = None) -> None:
        super().__init__(path, key, origin=origin)
        group = self._node()
        if shape is None:
            encoding = group.attrs.get("encoding-type", "dense array")
            if encoding != "csr_matrix":
                raise AeframeError(
                    f"{origin}: '{key}' is stored as {encoding}, but data.backed=true requires csr_matrix or a dense "
                    "array; save it as scipy.sparse.csr_matrix, or set data.backed=false"
                )
            shape = (int(group.attrs["shape"][0]), int(group.attrs["shape"][1]))
        self.shape = shape
        pointers, subject = group["indptr"], f"{origin}: the row pointers of '{key}'"
        check_memory(origin, 8.0 * pointers.shape[0], f"'{key}/indptr'")
        # Arrays of Zarr have no length.
        num_values = int(group["data"].shape[0])
        self._pointers: NDArray[np.int64] = np.asarray(pointers[:])
        check_pointers(self._pointers, self.shape[0], int(group["indices"].shape[0]), num_values, subject)
        self._pointers = self._pointers.astype(np.int64)
        if num_values and int(np.diff(self._pointers).max()) > self.shape[1]:
            raise AeframeError(f"{subject} claim more values in a row than its {self.shape[1]} genes; save it again")
        self._check_type(group["data"].dtype)

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        group, (spans, rows) = self._node(), self._spans(index)
        ranges = [(int(self._pointers[start]), int(self._pointers[stop])) for start, stop in spans]
        try:
            data, indices = (
                np.concatenate([np.asarray(values[start:stop]) for start, stop in ranges] or [values[:0]])
                for values in (group["data"], group["indices"])
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise unreadable_file_error(self.path, self._origin, error) from error
        pointers = np.concatenate([[0], np.cumsum(self._pointers[rows + 1] - self._pointers[rows])])
        check_indices(indices, pointers, self.shape[1], f"{self._origin}: '{self.key}'", rows=rows, noun="gene")
        matrix = csr_matrix((data.astype(np.float32, copy=False), indices, pointers), (len(rows), self.shape[1]))
        return matrix if np.array_equal(index, rows) else matrix[np.searchsorted(rows, index)]


class BackedDense(_StoredMatrix):
    """A dense matrix in a file, whose rows become sparse.

    Args:
        path: The file.
        key: The name of the matrix in the file.
        origin: The dataset, for messages.

    Raises:
        AeframeError: The array is not a matrix of numbers; from `rows`, damaged values.
    """

    def __init__(self, path: Path, key: str, *, origin: str) -> None:
        super().__init__(path, key, origin=origin)
        array = self._node()
        if len(array.shape) != 2:
            raise AeframeError(f"{origin}: '{key}' has shape {tuple(array.shape)}, expected (cells, genes)")
        self.shape = (int(array.shape[0]), int(array.shape[1]))
        self._check_type(array.dtype)

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        array, (spans, rows) = self._node(), self._spans(index)
        size = max(1, _DENSE_VALUES // max(1, self.shape[1]))
        # By blocks, since the rows of many cells may be far larger than their values other than 0.
        blocks = [(first, min(first + size, stop)) for start, stop in spans for first in range(start, stop, size)]
        try:
            parts = [csr_matrix(np.asarray(array[start:stop], np.float32)) for start, stop in blocks]
        except (OSError, RuntimeError, ValueError) as error:
            raise unreadable_file_error(self.path, self._origin, error) from error
        matrix = stacked(parts, self.shape[1])
        return matrix if np.array_equal(index, rows) else matrix[np.searchsorted(rows, index)]


def stacked(parts: list[csr_matrix[Any]], num_columns: int) -> csr_matrix[Any]:
    """Return the rows of several matrices one after another."""
    if len(parts) == 1:
        return parts[0]
    return csr_matrix(vstack(parts, format="csr") if parts else np.zeros((0, num_columns), np.float32))
