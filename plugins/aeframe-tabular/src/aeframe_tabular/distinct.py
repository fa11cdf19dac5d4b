"""The distinct values of a column, and how they are written as classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Distinct:
    """The distinct values of a column, in the order in which they occur."""

    values: Any
    """``(d,)`` values, without missing ones; an array or index of pandas, or of numpy."""
    counts: NDArray[np.int64]
    """``(d,)`` how many rows have each."""
    codes: NDArray[np.intp]
    """``(N,)`` the index of each row's value; -1 where it is missing."""

    @classmethod
    def of(cls, column: pd.Series[Any]) -> Distinct:
        """Return the distinct values of a column."""
        codes, values = pd.factorize(column)
        return cls(values, np.bincount(codes[codes >= 0], minlength=len(values)), codes)

    @property
    def num(self) -> int:
        """The number of distinct values."""
        return len(self.values)

    @property
    def num_present(self) -> int:
        """The number of cells that are not missing."""
        return int(self.counts.sum())

    @property
    def num_missing(self) -> int:
        """The number of missing cells."""
        return len(self.codes) - self.num_present

    def texts(self) -> list[str]:
        """Return the values as text, see `text_of`."""
        if isinstance(getattr(self.values, "dtype", None), pd.StringDtype):
            return list(self.values.tolist())
        return [text_of(value) for value in self.values.tolist()]

    def first_row(self, value: int) -> int:
        """Return the first row that has the value of an index."""
        return int(np.argmax(self.codes == value))


def text_of(value: Any) -> str:
    """Return how a value is written as a class: whole floats without a decimal point, dates in ISO 8601."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat(" ") if isinstance(value, pd.Timestamp) else str(value)


def numbers_in(values: Any) -> NDArray[np.float64]:
    """Return values ``(d,)`` as numbers, durations as seconds, and NaN for what is no number."""
    series: Any = pd.Series(values)
    if series.dtype.kind == "m":
        return series.dt.total_seconds().to_numpy(np.float64)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    if series.dtype.kind == "M" or isinstance(series.dtype, pd.DatetimeTZDtype):
        return np.full(len(series), np.nan)
    if not pd.api.types.is_numeric_dtype(series.dtype):
        series = pd.to_numeric(series.astype(object), errors="coerce")
    return series.to_numpy(np.float64, na_value=np.nan)
