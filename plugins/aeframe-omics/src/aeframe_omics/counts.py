"""Counts of many cells, of which some rows are asked for at a time: in memory, or in a file."""

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
_GAP = 8


class Counts(Protocol):
    """A matrix of cells by genes, kept sparse."""

    shape: tuple[int, int]
    backed: bool

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        """Return some rows, in the order asked for, as float32."""
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
    """The CSR matrix at `key` of an HDF5 file, read as it is asked for; only where each row begins is in memory.

    The file is opened by each process for itself. Rows that stand near one another are read in one go. Genes of a row
    may stand in any order.

    Raises:
        AeframeError: A dense matrix, one stored by columns, or pointers that do not fit the values; from `rows`, values
            that are damaged.
    """

    backed = True

    def __init__(self, path: Path, key: str, *, origin: str) -> None:
        self.path, self.key, self._origin = path, key, origin
        self._file: h5py.File | None = None
        group = self._group()
        found = group.attrs.get("encoding-type", "dense array")
        if found != "csr_matrix":
            raise AeframeError(
                f"{origin}: '{key}' is stored as {found}, and rows are read from csr_matrix only; save it as "
                "scipy.sparse.csr_matrix, or set data.backed=false"
            )
        self.shape = (int(group.attrs["shape"][0]), int(group.attrs["shape"][1]))
        self._ends: NDArray[np.int64] = group["indptr"][:].astype(np.int64)
        check_pointers(
            self._ends,
            self.shape[0],
            len(group["indices"]),
            len(group["data"]),
            f"{origin}: the row pointers of '{key}'",
        )

    def __getstate__(self) -> dict[str, Any]:
        # An open file is of one process.
        return {**self.__dict__, "_file": None}

    def rows(self, index: NDArray[np.int64]) -> csr_matrix[Any]:
        group, wanted = self._group(), np.unique(index)
        # Over a few rows that nobody asked for, reading on is cheaper than reading anew.
        spans = np.split(wanted, np.flatnonzero(np.diff(wanted) > _GAP) + 1)
        held = np.concatenate([np.arange(span[0], span[-1] + 1) for span in spans])
        where = [(int(self._ends[span[0]]), int(self._ends[span[-1] + 1])) for span in spans]
        try:
            data, indices = (
                np.concatenate([values[start:stop] for start, stop in where])
                for values in (group["data"], group["indices"])
            )
        except OSError as error:
            raise unreadable(self.path, self._origin, error) from error
        ends = np.concatenate([[0], np.cumsum(self._ends[held + 1] - self._ends[held])])
        check_indices(indices, ends, self.shape[1], f"{self._origin}: '{self.key}'", rows=held)
        read = csr_matrix((data.astype(np.float32, copy=False), indices, ends), (len(held), self.shape[1]))
        return read if np.array_equal(index, held) else read[np.searchsorted(held, index)]

    def _group(self) -> Any:
        if self._file is None:
            self._file = h5py.File(self.path, "r")
        return self._file[self.key]


def check_sparse(matrix: Any, origin: str, key: str) -> None:
    """Refuse a CSR or CSC matrix whose indices lie outside its shape; scipy would write beyond its memory.

    Raises:
        AeframeError: Pointers that are out of order or do not fit the values, or an index outside the matrix.
    """
    by_rows = matrix.format == "csr"
    size, other = matrix.shape if by_rows else matrix.shape[::-1]
    pointers = f"{origin}: the {'row' if by_rows else 'column'} pointers of '{key}'"
    check_pointers(matrix.indptr, size, len(matrix.indices), len(matrix.data), pointers)
    check_indices(matrix.indices, matrix.indptr, other, f"{origin}: '{key}'", by_rows=by_rows)


def check_pointers(ends: NDArray[Any], size: int, num_indices: int, num: int, what: str) -> None:
    """Refuse pointers ``(size + 1,)`` that do not rise from 0 to the number of values."""
    fits = len(ends) == size + 1 and num_indices == num and ends[0] == 0 and ends[-1] == num
    if not fits or (np.diff(ends) < 0).any():
        raise AeframeError(f"{what} are not in order, or do not fit its {num} values; save the file again")


def check_indices(
    indices: NDArray[Any],
    ends: NDArray[Any],
    size: int,
    what: str,
    *,
    rows: NDArray[np.int64] | None = None,
    by_rows: bool = True,
) -> None:
    """Refuse indices below 0, or of `size` and more.

    Args:
        indices: Of genes, or with `by_rows` false of cells.
        ends: Where the indices of each row (or column) end, from 0.
        size: How many genes (or cells) there are.
        what: Whose they are, for the message.
        rows: The number of each row in the whole matrix, where only some were read.
        by_rows: Whether the matrix is stored by rows.
    """
    if not len(indices) or (indices.min() >= 0 and indices.max() < size):
        return
    first = int(np.flatnonzero((indices < 0) | (indices >= size))[0])
    place = int(np.searchsorted(ends, first, side="right")) - 1
    at = place if rows is None else int(rows[place])
    kinds = ("gene", "row") if by_rows else ("row", "gene")
    raise AeframeError(
        f"{what} has a value for {kinds[0]} {indices[first]} of {size} in {kinds[1]} {at}; save the file again"
    )


def unreadable(path: Path, origin: str, error: Exception) -> AeframeError:
    """Return what is said of a file that is cut off, damaged or of another kind."""
    found = " ".join(str(error).split())[:120] or type(error).__name__
    return AeframeError(
        f"{origin}: '{path}' cannot be read as an AnnData file ({found}); write it again with AnnData.write_h5ad"
    )


def chunks(counts: Counts, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], csr_matrix[Any]]]:
    """Yield some rows at a time, from the first to the last."""
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        yield part, counts.rows(part)
