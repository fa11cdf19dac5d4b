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
        num = len(group["data"])
        if (
            len(self._ends) != self.shape[0] + 1
            or len(group["indices"]) != num
            or self._ends[0] != 0
            or self._ends[-1] != num
            or (np.diff(self._ends) < 0).any()
        ):
            raise AeframeError(
                f"{origin}: the row pointers of '{key}' are not in order, or do not fit its {num} values; "
                "save the file again"
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
        if len(indices) and not 0 <= indices.min() <= indices.max() < self.shape[1]:
            raise AeframeError(
                f"{self._origin}: '{self.key}' has a value for gene {indices.max()} of {self.shape[1]} in one of the "
                f"rows {wanted[0]} to {wanted[-1]}; save the file again"
            )
        ends = np.concatenate([[0], np.cumsum(self._ends[held + 1] - self._ends[held])])
        read = csr_matrix((data.astype(np.float32, copy=False), indices, ends), (len(held), self.shape[1]))
        return read if np.array_equal(index, held) else read[np.searchsorted(held, index)]

    def _group(self) -> Any:
        if self._file is None:
            self._file = h5py.File(self.path, "r")
        return self._file[self.key]


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
