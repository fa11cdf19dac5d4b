"""How alike the distributions of single columns are in two tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from aeframe_tabular.column import Column
from aeframe_tabular.quality.cells import (
    Floats,
    class_numbers_of,
    num_class_numbers,
    numbers_of,
    total_variation,
    used_columns,
)


@dataclass(frozen=True, slots=True)
class ColumnShapes:
    """The shape score of each column, in [0, 1]; 1 for equal distributions."""

    scores: dict[str, float]
    """By name of the column."""

    @property
    def mean(self) -> float:
        """The mean over the columns."""
        return float(np.mean(list(self.scores.values())))


def column_shapes(real: pd.DataFrame, synthetic: pd.DataFrame, columns: Sequence[Column]) -> ColumnShapes:
    """Return the shape score of each column of two typed frames.

    - Classes: 1 - total variation distance of the class frequencies; missing cells are a class.
    - Numbers and dates: 1 - Kolmogorov-Smirnov distance of the present cells, times 1 - absolute difference of the
      shares of missing cells.

    Two samples of the same distribution score less than 1, by about 1 / sqrt(number of rows): compare with held-out
    rows of the same number.

    Raises:
        AeframeError: A column or all rows are missing from a frame.
    """
    used = used_columns(columns, real, synthetic)
    return ColumnShapes({column.name: _shape_score(real, synthetic, column) for column in used})


def _shape_score(real: pd.DataFrame, synthetic: pd.DataFrame, column: Column) -> float:
    if column.is_numeric:
        return number_shape(numbers_of(real, column), numbers_of(synthetic, column))
    classes = [class_numbers_of(frame, column) for frame in (real, synthetic)]
    return 1.0 - total_variation(classes[0], classes[1], num_class_numbers(column))


def number_shape(real: Floats, synthetic: Floats) -> float:
    """Return the shape score of numbers ``(N,)`` and ``(M,)``, NaN where they are missing; see `column_shapes`."""
    present = [values[~np.isnan(values)] for values in (real, synthetic)]
    shares = [1.0 - len(some) / len(values) for some, values in zip(present, (real, synthetic), strict=True)]
    # If one has no present cells, the other factor compares the columns.
    distance = ks_distance(present[0], present[1]) if len(present[0]) and len(present[1]) else 0.0
    return float((1.0 - abs(shares[0] - shares[1])) * (1.0 - distance))


def ks_distance(real: Floats, synthetic: Floats) -> float:
    """Return the largest difference of the empirical distribution functions of ``(N,)`` and ``(M,)``, in [0, 1]."""
    real, synthetic = np.sort(real), np.sort(synthetic)
    values = np.concatenate([real, synthetic])
    below = [np.searchsorted(each, values, side="right") / len(each) for each in (real, synthetic)]
    return float(np.abs(below[0] - below[1]).max())
