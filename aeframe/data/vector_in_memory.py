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
from aeframe.data.tables import Choice, Rows
from aeframe.data.tables.rows import select_columns
from aeframe.data.tabular import RowSplits
from aeframe.errors import AeframeError


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
        return Rows(LazyRows(_frame_values(x)), "x", tuple(str(name) for name in x.columns))
    values = x if is_sparse(x) else x if isinstance(x, np.ndarray) else as_array(x)
    if values.ndim < 2:
        raise AeframeError(f"x is {described(x)}, expected rows (N, ...); x[:, None] has rows of one number")
    if values.dtype.kind not in "fiub":
        raise AeframeError(f"x is {described(x)} of {values.dtype}, expected numbers; convert it")
    return Rows(LazyRows(values), "x")


def _frame_values(frame: Any) -> NDArray[Any]:
    """Return the values ``(N, D)`` of a data frame whose columns are numbers or truth values."""
    names = [str(name) for name in frame.columns]
    duplicate = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if duplicate is not None:
        raise AeframeError(f"x has two columns named '{duplicate}'; rename one")
    for name, original in zip(names, frame.columns, strict=True):
        column = as_array(frame[original])
        if column.dtype.kind not in "fiub" and not _is_number_with_missing(column):
            raise AeframeError(
                f"x has the column '{name}' of {frame[original].dtype}, expected numbers; drop it, encode it as "
                f"numbers, or name it as y='{name}' or condition='{name}'"
            )
    kinds = {as_array(frame[original]).dtype for original in frame.columns}
    if len(kinds) == 1 and next(iter(kinds)).kind == "f":
        # A frame of one block is not copied.
        return np.asarray(frame.to_numpy())
    return np.stack([as_array(frame[original]).astype(np.float64) for original in frame.columns], 1)


def _is_number_with_missing(column: NDArray[Any]) -> bool:
    """Return whether a column of Python objects has only numbers and missing values."""
    return column.dtype.kind == "O" and all(
        value is None or isinstance(value, (int, float, np.number)) for value in column.tolist()
    )
