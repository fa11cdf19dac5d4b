"""The association of pairs of columns of mixed kinds, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from aeframe_tabular.column import Column
from aeframe_tabular.quality.cells import (
    Floats,
    Integers,
    class_numbers_of,
    num_class_numbers,
    numbers_of,
    used_columns,
)
from aeframe_tabular.quality.pairs import pearson


def associations(frame: pd.DataFrame, columns: Sequence[Column]) -> Floats:
    """Return the association of each pair of columns ``(D, D)``, symmetric, with a diagonal of 1.

    - Two numbers or dates: Pearson's correlation, in [-1, 1], of the rows where both are present.
    - Two columns of classes: Cramér's V, in [0, 1]; missing cells are a class.
    - A number and classes: the correlation ratio, in [0, 1], of the rows where the number is present.

    It is 0 where a column is constant.

    Raises:
        AeframeError: A column or all rows are missing from the frame.
    """
    used = used_columns(columns, frame)
    cells = [numbers_of(frame, column) if column.is_numeric else class_numbers_of(frame, column) for column in used]
    matrix = np.eye(len(used))
    for i, j in zip(*np.triu_indices(len(used), 1), strict=True):
        matrix[i, j] = matrix[j, i] = _association(cells[i], cells[j], used[i], used[j])
    return matrix


def _association(a: Floats | Integers, b: Floats | Integers, first: Column, second: Column) -> float:
    if not first.is_numeric and not second.is_numeric:
        return cramers_v(a.astype(np.int64), b.astype(np.int64), num_class_numbers(second))
    if first.is_numeric and second.is_numeric:
        present = ~np.isnan(a) & ~np.isnan(b)
        return pearson(a[present].astype(np.float64), b[present].astype(np.float64))
    numbers, classes = (a, b) if first.is_numeric else (b, a)
    present = ~np.isnan(numbers)
    return correlation_ratio(numbers[present].astype(np.float64), classes[present].astype(np.int64))


def cramers_v(a: Integers, b: Integers, num_classes: int) -> float:
    """Return Cramér's V of two columns of class numbers ``(N,)``, without a correction for small N.

    Args:
        a: Class numbers.
        b: Class numbers below `num_classes`.
        num_classes: The number of classes of `b`.
    """
    cells, counts = np.unique(a * num_classes + b, return_counts=True)
    rows, columns = np.bincount(a), np.bincount(b)
    smallest = min(np.count_nonzero(rows), np.count_nonzero(columns)) - 1
    if smallest < 1:
        return 0.0
    # Chi-squared / N is the sum of n_ij^2 / (n_i n_j) over the cells that occur, minus 1.
    inertia = float((counts**2 / (rows[cells // num_classes] * columns[cells % num_classes])).sum()) - 1.0
    return float(np.sqrt(np.clip(inertia / smallest, 0.0, 1.0)))


def correlation_ratio(numbers: Floats, classes: Integers) -> float:
    """Return the square root of the share of the variance of numbers ``(N,)`` that is between classes ``(N,)``."""
    if not len(numbers):
        return 0.0
    centred = numbers - numbers.mean()
    total = float(centred @ centred)
    if total <= 0.0:
        return 0.0
    counts = np.bincount(classes)
    sums = np.bincount(classes, weights=centred)
    between = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum())
    return float(np.sqrt(np.clip(between / total, 0.0, 1.0)))
