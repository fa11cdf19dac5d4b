"""Sparse count matrices, in memory or in a file, that return some rows at a time; and checks of their indices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from aeframe.errors import AeframeError

_CHUNK = 4096
"""Rows that `iterate_chunks` yields at a time."""
_MAX_GAP = 8
"""Rows of a file closer than this are read together with the rows between them."""


class Counts(Protocol):
    """A sparse matrix of counts, cells by genes."""

    shape: tuple[int, int]
    backed: bool
    """Whether the matrix stays in its file."""

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        """Return the rows `index`, in this order, as float32."""
        ...


class MemoryCounts:
    """A CSR matrix in memory."""

    backed = False

    def __init__(self, matrix: csr_matrix[Any]) -> None:
        self._matrix = csr_matrix(
            (matrix.data.astype(np.float32, copy=False), matrix.indices, matrix.indptr), matrix.shape
        )
        self.shape: tuple[int, int] = matrix.shape

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        return self._matrix[index]


class BackedCounts:
    """A CSR matrix in an HDF5 file; only its row pointers are in memory.

    Each process opens the file itself. Rows close to each other are read together. The column indices of a row need not
    be sorted.

    Args:
        path: The file.
        key: The name of the matrix in the file, such as ``X`` or ``layers/raw``.
        origin: The dataset, for messages.

    Raises:
        AeframeError: A matrix that is not stored as CSR, or invalid row pointers; from `rows`, damaged values or
            indices.
    """

    backed = True

    def __init__(self, path: Path, key: str, *, origin: str) -> None:
        self.path, self.key, self._origin = path, key, origin
        self._file: h5py.File | None = None
        group = self._group()
        encoding = group.attrs.get("encoding-type", "dense array")
        if encoding != "csr_matrix":
            raise AeframeError(
                f"{origin}: '{key}' is stored as {encoding}, but data.backed=true requires csr_matrix; save it as "
                "scipy.sparse.csr_matrix, or set data.backed=false"
            )
        self.shape = (int(group.attrs["shape"][0]), int(group.attrs["shape"][1]))
        self._pointers: NDArray[np.int64] = group["indptr"][:].astype(np.int64)
        check_pointers(
            self._pointers,
            self.shape[0],
            len(group["indices"]),
            len(group["data"]),
            f"{origin}: the row pointers of '{key}'",
        )

    def __getstate__(self) -> dict[str, Any]:
        # Open HDF5 files cannot be shared between processes.
        return {**self.__dict__, "_file": None}

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        group, requested = self._group(), np.unique(index)
        # Reading a few unneeded rows is faster than a separate read.
        spans = np.split(requested, np.flatnonzero(np.diff(requested) > _MAX_GAP) + 1)
        rows = np.concatenate([np.arange(span[0], span[-1] + 1) for span in spans])
        ranges = [(int(self._pointers[span[0]]), int(self._pointers[span[-1] + 1])) for span in spans]
        try:
            data, indices = (
                np.concatenate([values[start:stop] for start, stop in ranges])
                for values in (group["data"], group["indices"])
            )
        except OSError as error:
            raise unreadable_file_error(self.path, self._origin, error) from error
        pointers = np.concatenate([[0], np.cumsum(self._pointers[rows + 1] - self._pointers[rows])])
        check_indices(indices, pointers, self.shape[1], f"{self._origin}: '{self.key}'", rows=rows)
        matrix = csr_matrix((data.astype(np.float32, copy=False), indices, pointers), (len(rows), self.shape[1]))
        return matrix if np.array_equal(index, rows) else matrix[np.searchsorted(rows, index)]

    def _group(self) -> Any:
        if self._file is None:
            self._file = h5py.File(self.path, "r")
        return self._file[self.key]


def check_sparse(matrix: Any, origin: str, key: str) -> None:
    """Check the pointers and indices of a CSR or CSC matrix; with invalid ones, scipy accesses memory out of bounds.

    Raises:
        AeframeError: Pointers that are not ascending or do not match the values, or an index out of range.
    """
    by_rows = matrix.format == "csr"
    # The number of rows (or columns) that pointers delimit, and of the columns (or rows) that indices name.
    num_pointed, num_indexed = matrix.shape if by_rows else matrix.shape[::-1]
    subject = f"{origin}: the {'row' if by_rows else 'column'} pointers of '{key}'"
    check_pointers(matrix.indptr, num_pointed, len(matrix.indices), len(matrix.data), subject)
    check_indices(matrix.indices, matrix.indptr, num_indexed, f"{origin}: '{key}'", by_rows=by_rows)


def check_pointers(pointers: NDArray[Any], size: int, num_indices: int, num_values: int, subject: str) -> None:
    """Check that pointers ``(size + 1,)`` ascend from 0 to the number of values.

    Raises:
        AeframeError: The pointers do not; the message begins with `subject`.
    """
    is_matching = (
        len(pointers) == size + 1 and num_indices == num_values and pointers[0] == 0 and pointers[-1] == num_values
    )
    if not is_matching or (np.diff(pointers) < 0).any():
        raise AeframeError(f"{subject} are not ascending, or do not match its {num_values} values; save the file again")


def check_indices(
    indices: NDArray[Any],
    pointers: NDArray[Any],
    size: int,
    subject: str,
    *,
    rows: NDArray[np.int64] | None = None,
    by_rows: bool = True,
) -> None:
    """Check that the indices of a matrix are from 0 to `size` - 1.

    Args:
        indices: Column indices, or row indices if not `by_rows`.
        pointers: Row pointers, or column pointers if not `by_rows`.
        size: The number of columns, or rows if not `by_rows`.
        subject: The matrix, for the message.
        rows: The row numbers in the full matrix, if these are only some of its rows.
        by_rows: Whether the matrix is CSR; otherwise it is CSC.

    Raises:
        AeframeError: An index is out of range.
    """
    if not len(indices) or (indices.min() >= 0 and indices.max() < size):
        return
    first = int(np.flatnonzero((indices < 0) | (indices >= size))[0])
    # The row with this value, or the column if not `by_rows`.
    line = int(np.searchsorted(pointers, first, side="right")) - 1
    line = line if rows is None else int(rows[line])
    kinds = ("gene", "row") if by_rows else ("row", "gene")
    raise AeframeError(
        f"{subject} has a value for {kinds[0]} {indices[first]} of {size} in {kinds[1]} {line}; save the file again"
    )


def unreadable_file_error(path: Path, origin: str, error: Exception) -> AeframeError:
    """Return the error for a truncated or damaged file, or one of another format."""
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return AeframeError(
        f"{origin}: '{path}' cannot be read as an AnnData file ({reason}); write it again with AnnData.write_h5ad"
    )


def iterate_chunks(counts: Counts, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], csr_matrix[Any]]]:
    """Yield row numbers and counts of up to 4096 rows at a time, in order."""
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        yield chunk, counts.rows(chunk)
