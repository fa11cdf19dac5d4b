"""The share of synthetic rows whose every cell could be one of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe_tabular.column import Column
from aeframe_tabular.quality.cells import class_numbers_of, numbers_of, used_columns

_TOLERANCE = 1e-6
"""The part of its range by which a number may be outside: samples have single precision."""


@dataclass(frozen=True, slots=True)
class Validity:
    """The share of valid rows and cells, in [0, 1]."""

    rows: float
    """The share of rows whose every cell is valid."""
    columns: dict[str, float]
    """The share of valid cells by name of the column."""


def row_validity(real: pd.DataFrame, synthetic: pd.DataFrame, columns: Sequence[Column]) -> Validity:
    """Return the share of valid rows of a typed frame.

    A cell is valid if

    - its column has the dtype of a typed frame (`Column`); of numbers, any dtype of numbers but bool;
    - a number or date is within the bounds of the column, where it has bounds, and finite;
    - an integer is whole;
    - a class is one of the column;
    - it is present, or the column had missing cells in training.

    Args:
        real: The training rows; cells may be missing in the columns where these have missing ones.
        synthetic: The rows that are examined.
        columns: The columns of both.

    Raises:
        AeframeError: A column or all rows are missing from a frame.
    """
    used = used_columns(columns, real, synthetic)
    valid = {column.name: valid_cells(real, synthetic, column) for column in used}
    rows = np.logical_and.reduce(list(valid.values()))
    return Validity(float(rows.mean()), {name: float(cells.mean()) for name, cells in valid.items()})


def valid_cells(real: pd.DataFrame, synthetic: pd.DataFrame, column: Column) -> NDArray[np.bool_]:
    """Return which cells ``(N,)`` of a column are valid, see `row_validity`."""
    series: Any = synthetic[column.name]
    if not _has_dtype(series.dtype, column):
        return np.zeros(len(series), dtype=np.bool_)
    missing = series.isna().to_numpy()
    if column.is_discrete:
        valid = class_numbers_of(synthetic, column) < len(column.classes)
    else:
        numbers = numbers_of(synthetic, column)
        low, high = (-np.inf if column.low is None else column.low), (np.inf if column.high is None else column.high)
        margin = _TOLERANCE * (high - low) if np.isfinite(high - low) else 0.0
        # Comparisons with NaN, which stands for infinite numbers too, are False.
        valid = (numbers >= low - margin) & (numbers <= high + margin)
        if column.kind == "integer":
            valid &= numbers == np.round(numbers)
    may_be_missing = column.num_missing > 0 or bool(real[column.name].isna().any())
    cells: NDArray[np.bool_] = np.where(missing, may_be_missing, valid)
    return cells


def _has_dtype(dtype: Any, column: Column) -> bool:
    if column.is_discrete:
        return isinstance(dtype, pd.CategoricalDtype)
    if column.kind == "date":
        return bool(pd.api.types.is_datetime64_dtype(dtype))
    return bool(pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype))
