"""The dataset ``vector_in_memory``: rows of numbers that a program has in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.in_memory import MemoryDataset
from aeframe.data.lazy_rows import LazyRows
from aeframe.data.samples import as_array, described, is_frame, is_sparse, is_tensor
from aeframe.data.sparse_checks import checked_csr
from aeframe.data.tables import Choice, Rows
from aeframe.data.tables.rows import select_columns
from aeframe.data.tabular import RowSplits
from aeframe.errors import AeframeError

_MAX_SHOWN = 6
"""Columns that an error message describes."""


class VectorInMemory(MemoryDataset):
    """Rows of numbers: an array or tensor ``(N, *shape)``, also memory-mapped, a data frame, or a sparse matrix.

    Args:
        samples: The samples by split, injected.
        validation: Fraction of the rows for validation, if no validation split was passed.
        test: Fraction of the rows for testing, if no test split was passed.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "vector"
    noun: ClassVar[str] = "rows"

    @staticmethod
    def accepts(x: Any) -> bool:
        if isinstance(x, np.ndarray) or is_tensor(x):
            return x.ndim >= 2 and not (isinstance(x, np.ndarray) and x.dtype.kind not in "fiub")
        return is_frame(x) or is_sparse(x)

    def read(self, x: Any, labels: Tensor | None) -> Rows:
        rows = rows_of(x)
        rows.label = None if labels is None else labels.numpy()
        return rows

    def describe_raw(self, train: Rows) -> Mapping[str, Any]:
        return {"shape": train.header.shape, "columns": train.header.columns}

    def raw_splits(self, splits: Mapping[str, Any]) -> RowSplits:
        return RowSplits(**splits, label=self.label_column, label_names=self.label_names)


def rows_of(x: Any, columns: tuple[str, ...] | None = None) -> Rows:
    """Return rows of an array, tensor, data frame or sparse matrix; nothing is copied where it can be avoided.

    The index of a data frame of pandas identifies its rows, unless it only counts them.

    Args:
        x: The rows.
        columns: The columns of a data frame to return, in this order; None for all.

    Raises:
        AeframeError: It has no rows of numbers, or lacks one of the columns.
    """
    if is_frame(x):
        if columns is not None:
            names = [str(name) for name in x.columns]
            chosen, _ = select_columns("x", names, Choice(columns=columns))
            x = x[[x.columns[number] for number in chosen]]
        row_names, id_column = _index_of(x)
        columns = tuple(str(name) for name in x.columns)
        return Rows(LazyRows(_frame_values(x)), "x", columns, names=row_names, id_column=id_column)
    values = x if is_sparse(x) else x if isinstance(x, np.ndarray) else as_array(x)
    if values.ndim < 2:
        raise AeframeError(f"x is {described(x)}, expected rows (N, ...); x[:, None] has rows of one number")
    if values.dtype.kind not in "fiub":
        raise AeframeError(f"x is {described(x)} of {values.dtype}, expected numbers; convert it")
    if is_sparse(values):
        values = checked_csr(values, "x", "x")
    return Rows(LazyRows(values), "x")


def _index_of(frame: Any) -> tuple[NDArray[Any] | None, str | None]:
    """Return the index of a data frame as strings ``(N,)``, and its name; None if it counts the rows from 0."""
    index = getattr(frame, "index", None)
    if index is None or not hasattr(index, "to_numpy"):
        return None, None
    values = index.to_numpy()
    if values.dtype.kind in "iu" and np.array_equal(values, np.arange(len(values))):
        return None, None
    names = np.array([", ".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in index])
    return names, "" if index.name is None else str(index.name)


def _frame_values(frame: Any) -> NDArray[Any]:
    """Return the values ``(N, D)`` of a data frame whose columns are numbers or truth values.

    Raises:
        AeframeError: Columns have other values, or whole numbers beyond 2**53; all of them are named.
    """
    names = [str(name) for name in frame.columns]
    duplicate = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if duplicate is not None:
        raise AeframeError(f"x has two columns named '{duplicate}'; rename one")
    columns = [as_array(frame[original]) for original in frame.columns]
    wrong = [number for number, column in enumerate(columns) if not is_numeric(column)]
    if wrong:
        shown = ", ".join(f"'{names[number]}' of {frame[frame.columns[number]].dtype}" for number in wrong[:_MAX_SHOWN])
        more = f" and {len(wrong) - _MAX_SHOWN} more" if len(wrong) > _MAX_SHOWN else ""
        dropped = ", ".join(repr(frame.columns[number]) for number in wrong)
        what, them = ("columns", "them") if len(wrong) > 1 else ("the column", "it")
        raise AeframeError(
            f"x has {what} {shown}{more}, expected numbers; leave {them} out with x.drop(columns=[{dropped}]), encode "
            f"{them} as numbers, or name one as y or condition"
        )
    large = [number for number, column in enumerate(columns) if _is_beyond_doubles(column)]
    if large:
        shown = ", ".join(f"'{names[number]}'" for number in large)
        raise AeframeError(
            f"x has whole numbers beyond 2**53 in {shown}, which are identifiers and cannot be stored exactly; drop "
            f"{'these columns' if len(large) > 1 else 'this column'}, or convert to floating-point numbers"
        )
    dtypes = {column.dtype for column in columns}
    if len(dtypes) == 1 and next(iter(dtypes)).kind == "f":
        # A frame of one block is not copied.
        return np.asarray(frame.to_numpy())
    return np.stack([column.astype(np.float64) for column in columns], 1)


def _is_beyond_doubles(column: NDArray[Any]) -> bool:
    """Return whether a column has whole numbers that double precision cannot store exactly."""
    if column.dtype.kind not in "iu" or column.dtype.itemsize < 8 or not len(column):
        return False
    return bool(column.max() > 2**53 or column.min() < -(2**53))


def is_numeric(column: NDArray[Any]) -> bool:
    """Return whether a column has only numbers, truth values and missing values."""
    if column.dtype.kind == "O":
        return all(value is None or isinstance(value, (int, float, np.number)) for value in column.tolist())
    return column.dtype.kind in "fiub"
