"""Compare the cells of a column with a value: `compare`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.data.where import Where
from aeframe.errors import AeframeError
from aeframe_tabular.column import Column
from aeframe_tabular.distinct import numbers_in


def compare(values: pd.Series[Any], column: Column, where: Where) -> NDArray[np.bool_]:
    """Return ``(N,)``: whether each cell fulfils a comparison; missing ones do not.

    Args:
        values: The column of a typed frame.
        column: Its kind and classes. Classes have an order if they are ordinal, or numbers.
        where: The comparison.

    Raises:
        AeframeError: The value is no class, number or date of the column, or its classes have no order.
    """
    if column.kind == "date":
        return where.holds(values.to_numpy(), _date(where))
    if not column.is_discrete:
        return where.holds(values.to_numpy(np.float64), where.number())
    codes = values.cat.codes.to_numpy()
    if where.operator in ("=", "!="):
        return where.holds(_known(codes), where.class_number(column.classes))
    if column.kind == "ordinal":
        return where.holds(_known(codes), where.class_number(column.classes))
    numbers = numbers_in(list(column.classes))
    if np.isnan(numbers).any():
        raise AeframeError(
            f"'{where}' compares column '{where.column}', whose classes have no order; use = or !=, or train with "
            f"data.kinds.{where.column}=ordinal"
        )
    return where.holds(np.append(numbers, np.nan)[codes], where.number())


def _known(codes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return the numbers of classes, NaN for missing cells."""
    return np.where(codes < 0, np.nan, codes)


def _date(where: Where) -> np.datetime64:
    try:
        date = pd.Timestamp(where.value)
    except ValueError:
        raise AeframeError(
            f"'{where}' compares the dates of column '{where.column}' with '{where.value}', which is no date; write it "
            "as 2024-06-30"
        ) from None
    return np.datetime64(date.tz_convert(None) if date.tz is not None else date, "us")
