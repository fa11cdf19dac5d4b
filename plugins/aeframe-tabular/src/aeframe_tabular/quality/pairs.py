"""How alike the dependence of pairs of columns is in two tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from aeframe.noise import random_rows
from aeframe_tabular.column import Column
from aeframe_tabular.quality.cells import (
    Floats,
    Integers,
    class_numbers_of,
    num_class_numbers,
    numbers_of,
    total_variation,
    used_columns,
)

_MAX_PAIRS = 300
"""The largest number of pairs that are compared: all pairs of 25 columns."""
_NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class PairTrends:
    """The trend score of pairs of columns, in [0, 1]; 1 for the same dependence."""

    scores: dict[tuple[str, str], float]
    """By the names of both columns, in the order of the table; empty for a table of one column."""
    num_pairs: int
    """The number of all pairs of columns."""

    @property
    def mean(self) -> float:
        """The mean over the pairs that were compared; NaN for a table of one column."""
        return float(np.mean(list(self.scores.values()))) if self.scores else float("nan")

    def protocol(self) -> str:
        """Return in words which pairs were compared."""
        some = "all" if len(self.scores) == self.num_pairs else "random"
        return f"{some} {len(self.scores)} of {self.num_pairs} pairs of columns"


def pair_trends(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    columns: Sequence[Column],
    *,
    max_pairs: int = _MAX_PAIRS,
    seed: int = 0,
) -> PairTrends:
    """Return the trend score of the pairs of columns of two typed frames.

    - Two numbers or dates: 1 - half of the absolute difference of Spearman's rank correlations, of the rows where both
      are present. The correlation with a constant is taken as 0.
    - Otherwise: 1 - total variation distance of the contingency tables. Numbers are divided into the deciles of the
      real ones; missing cells are a class.

    Args:
        real: The rows to compare with.
        synthetic: The rows to score.
        columns: The columns of both.
        max_pairs: The largest number of pairs; of more pairs as many are drawn at random.
        seed: Seed of the drawn pairs.

    Raises:
        AeframeError: A column or all rows are missing from a frame.
    """
    used = used_columns(columns, real, synthetic)
    first, second = np.triu_indices(len(used), 1)
    chosen = random_rows(len(first), max_pairs, seed).numpy()
    tables = [_Table.of(frame, real, used) for frame in (real, synthetic)]
    sizes = {column.name: _NUM_BINS + 1 if column.is_numeric else num_class_numbers(column) for column in used}
    scores = {}
    for row in chosen:
        a, b = used[first[row]], used[second[row]]
        if a.is_numeric and b.is_numeric:
            correlations = [table.correlation(a.name, b.name) for table in tables]
            score = 1.0 - abs(correlations[0] - correlations[1]) / 2
        else:
            cells = [table.classes[a.name] * sizes[b.name] + table.classes[b.name] for table in tables]
            score = 1.0 - total_variation(cells[0], cells[1], sizes[a.name] * sizes[b.name])
        scores[a.name, b.name] = float(score)
    return PairTrends(scores, len(first))


@dataclass(frozen=True, slots=True)
class _Table:
    """The cells of a table, by name of the column."""

    numbers: Mapping[str, Floats]
    ranks: Mapping[str, Floats]
    classes: Mapping[str, Integers]

    @classmethod
    def of(cls, frame: pd.DataFrame, real: pd.DataFrame, columns: Sequence[Column]) -> _Table:
        """Return the cells of `frame`; numbers are divided into the deciles of `real`."""
        numbers = {column.name: numbers_of(frame, column) for column in columns if column.is_numeric}
        classes = {
            column.name: decile_numbers(numbers[column.name], numbers_of(real, column))
            if column.is_numeric
            else class_numbers_of(frame, column)
            for column in columns
        }
        return cls(numbers, {name: _ranks(values) for name, values in numbers.items()}, classes)

    def correlation(self, a: str, b: str) -> float:
        """Return Spearman's rank correlation of the rows where both columns are present; 0 if one is constant."""
        present = ~np.isnan(self.numbers[a]) & ~np.isnan(self.numbers[b])
        if present.all():
            return pearson(self.ranks[a], self.ranks[b])
        return pearson(_ranks(self.numbers[a][present]), _ranks(self.numbers[b][present]))


def decile_numbers(values: Floats, real: Floats) -> Integers:
    """Return the decile of `real` of each number ``(N,)``, from 0 to 9; 10 for missing cells.

    Equal deciles, as of a column with many zeros, are one; a number on the border of two is in the lower one.
    """
    present = real[~np.isnan(real)]
    borders = np.unique(np.quantile(present, np.arange(1, _NUM_BINS) / _NUM_BINS)) if len(present) else present
    return np.where(np.isnan(values), _NUM_BINS, np.searchsorted(borders, values, side="left")).astype(np.int64)


def pearson(a: Floats, b: Floats) -> float:
    """Return Pearson's correlation of ``(N,)`` and ``(N,)``; 0 if one is constant."""
    if len(a) < 2:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / scale, -1.0, 1.0)) if scale > 0.0 else 0.0


def _ranks(values: Floats) -> Floats:
    """Return the rank of each number ``(N,)``, the mean rank of equal ones; NaN where missing."""
    return np.asarray(pd.Series(values).rank(), dtype=np.float64)
