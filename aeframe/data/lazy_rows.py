"""`LazyRows`: rows of an array, a memory map or a sparse matrix, of which only those that are asked for are copied.

`LazySource` makes batches of them.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.types import Batch

CHUNK_VALUES = 1 << 20
"""Number of values that are read at a time when all rows are visited."""


class LazyRows:
    """Rows ``(N, *shape)`` of an array, a memory map or a sparse matrix; indexing returns a dense copy of some.

    Args:
        base: The array or the sparse matrix, of which all selections of rows are views.
        index: The numbers of the rows; None for all.
        columns: The numbers of the columns; None for all.
    """

    def __init__(
        self, base: Any, index: NDArray[np.int64] | None = None, columns: NDArray[np.int64] | None = None
    ) -> None:
        is_sparse = hasattr(base, "tocsr")
        self.base, self.index, self.columns = base.tocsr() if is_sparse else base, index, columns
        self._is_sparse = is_sparse

    def __len__(self) -> int:
        return int(self.base.shape[0]) if self.index is None else len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, *shape)``"""
        rest = tuple(self.base.shape[1:]) if self.columns is None else (len(self.columns),)
        return (len(self), *rest)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        dtype: np.dtype[Any] = self.base.dtype
        return dtype

    @property
    def is_mapped(self) -> bool:
        """Whether the values are in a file, of which the operating system reads what is used."""
        return isinstance(self.base, np.memmap)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return the rows at a slice, a number or an array of numbers, as a dense array in memory."""
        if isinstance(index, (int, np.integer)):
            row: NDArray[Any] = self[np.array([index])][0]
            return row
        rows = index if self.index is None else self.index[index]
        chosen = self.base[rows]
        dense: NDArray[Any] = chosen.toarray() if self._is_sparse else np.asarray(chosen)
        return dense if self.columns is None else dense[:, self.columns]

    def release(self) -> None:
        """Release the memory of the rows of a read-only file that were read; they are read again when they are used.

        Pages of a memory map count as memory of the process, although the operating system may drop them at any time.
        """
        pages: Any = self.base.base if isinstance(self.base, np.memmap) and self.base.mode == "r" else None
        if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)

    def rows(self, index: NDArray[np.int64]) -> LazyRows:
        """Return the rows at `index`, without reading them."""
        return LazyRows(self.base, index if self.index is None else self.index[index], self.columns)

    def with_columns(self, columns: NDArray[np.int64]) -> LazyRows:
        """Return the columns `columns` of ``(N, D)``, without reading them."""
        return LazyRows(self.base, self.index, columns if self.columns is None else self.columns[columns])

    def flat_columns(self, start: int, stop: int) -> NDArray[Any]:
        """Return the elements `start` to `stop` of every flattened row, ``(N, stop - start)``, for arrays in memory."""
        if self.columns is not None:
            block: NDArray[Any] = self.base[:, self.columns[start:stop]]
        else:
            block = self.base.reshape(len(self.base), -1)[:, start:stop]
        return block if self.index is None else block[self.index]

    @property
    def has_fast_columns(self) -> bool:
        """Whether `flat_columns` reads no more than it returns."""
        return not (self._is_sparse or self.is_mapped)

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows in dense blocks, each with the number of its first row."""
        size = max(1, CHUNK_VALUES // max(1, int(np.prod(self.shape[1:]))))
        for start in range(0, len(self), size):
            yield start, self[start : start + size]
            self.release()


class LazySource:
    """A source of `LazyRows` that are prepared by batch.

    Args:
        rows: The rows ``(N, *shape)``.
        prepare: Maps rows ``(B, *shape)`` to x and its mask.
        extras: ``(N, ...)`` each, by name.
        index: ``(N,)``: the `Batch.index` of each row; by default the row number.
        columns: ``(N,)`` each, by name: what identifies the samples in outputs, such as ``name``; see `Source`.
        is_streamed: Release the memory of a mapped file after each batch, for rows that are read once, in order.
    """

    in_memory = True

    def __init__(
        self,
        rows: LazyRows,
        prepare: Callable[[NDArray[Any]], tuple[Tensor, Tensor | None]],
        *,
        extras: Mapping[str, Tensor],
        index: Tensor | None,
        columns: Mapping[str, NDArray[Any]] | None = None,
        is_streamed: bool = False,
    ) -> None:
        self._is_streamed = is_streamed
        self._columns = dict(columns or {})
        self._rows, self._prepare, self._extras = rows, prepare, dict(extras)
        self._index = torch.arange(len(rows)) if index is None else index

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, index: Tensor) -> Batch:
        """Return the prepared rows `index` ``(B,)``."""
        x, mask = self._prepare(self._rows[index.numpy()])
        if self._is_streamed:
            self._rows.release()
        extras = {name: value[index] for name, value in self._extras.items()}
        return Batch(x, mask=mask, index=self._index[index], extras=extras)

    def columns(self, index: Tensor) -> Mapping[str, NDArray[Any]]:
        """Return what identifies the samples of the rows `index` ``(n,)``, see `Source`."""
        return {name: values[index.numpy()] for name, values in self._columns.items()}
