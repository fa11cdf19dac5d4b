"""The cells of a typed frame as arrays of numbers and of class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.errors import AeframeError, did_you_mean
from aeframe.noise import random_rows
from aeframe_tabular.column import Column

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def used_columns(columns: Sequence[Column], *frames: pd.DataFrame) -> tuple[Column, ...]:
    """Return the columns that are part of x.

    Raises:
        AeframeError: None is, or a frame lacks one of them, or has no rows.
    """
    used = tuple(column for column in columns if column.is_used)
    if not used:
        raise AeframeError(
            f"the quality of synthetic rows requires a column of numbers, classes or dates, found none among "
            f"{len(columns)} columns; choose other columns"
        )
    for frame in frames:
        if not len(frame):
            raise AeframeError("the quality of synthetic rows requires rows to compare, found a table without rows")
        for column in used:
            if column.name not in frame.columns:
                names = [str(name) for name in frame.columns]
                raise AeframeError(
                    f"the quality of synthetic rows requires column '{column.name}' in each table, found columns "
                    f"{', '.join(names[:10])}{did_you_mean(column.name, names)}; add it, or leave it out of both"
                )
    return used


def numbers_of(frame: pd.DataFrame, column: Column) -> Floats:
    """Return the numbers of a column ``(N,)``, dates in seconds since 1970.

    NaN stands for missing cells, infinite ones, and cells of another dtype than the column's.
    """
    series: Any = frame[column.name]
    if column.kind == "date":
        if not pd.api.types.is_datetime64_dtype(series.dtype):
            return np.full(len(series), np.nan)
        microseconds = series.to_numpy().astype("datetime64[us]")
        seconds = microseconds.astype(np.int64) / 1e6
        return np.where(np.isnat(microseconds), np.nan, seconds)
    if not pd.api.types.is_numeric_dtype(series.dtype):
        return np.full(len(series), np.nan)
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def class_numbers_of(frame: pd.DataFrame, column: Column) -> Integers:
    """Return the class number of each cell ``(N,)``; of n classes, n for missing cells and n + 1 for unknown ones."""
    series: Any = frame[column.name]
    if not isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype("category")
    found = pd.Index(column.classes).get_indexer(series.cat.categories.astype(str))
    num = len(column.classes)
    # The last entry is that of code -1, a missing cell.
    return np.append(np.where(found < 0, num + 1, found), num).astype(np.int64)[series.cat.codes.to_numpy()]


def num_class_numbers(column: Column) -> int:
    """Return how many different numbers `class_numbers_of` can return."""
    return len(column.classes) + 2


def sample_rows(frame: pd.DataFrame, num: int, seed: int) -> pd.DataFrame:
    """Return `num` rows drawn without replacement, in order; all of them if there are no more."""
    return frame if len(frame) <= num else frame.iloc[random_rows(len(frame), num, seed).numpy()]


def total_variation(real: Integers, synthetic: Integers, num_classes: int) -> float:
    """Return the total variation distance of the class frequencies of two columns ``(N,)`` and ``(M,)``, in [0, 1].

    It is half of the sum of the absolute differences of the frequencies.
    """
    if num_classes > 4 * (len(real) + len(synthetic)):
        # Most cells of a large table are empty.
        found, both = np.unique(np.concatenate([real, synthetic]), return_inverse=True)
        real, synthetic, num_classes = both[: len(real)], both[len(real) :], len(found)
    frequencies = [np.bincount(codes, minlength=num_classes) / len(codes) for codes in (real, synthetic)]
    return float(np.abs(frequencies[0] - frequencies[1]).sum() / 2)
