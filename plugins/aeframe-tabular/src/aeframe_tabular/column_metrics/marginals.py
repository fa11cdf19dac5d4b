"""`Marginals`: the distribution of each column alone in the training split, with which a model is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.noise import random_rows
from aeframe_tabular.coding import ColumnCoding, TableCoding
from aeframe_tabular.coding.numbers import NumberCoding
from aeframe_tabular.coding.scales import mean_and_deviation

_MAX_ROWS = 100_000
"""The largest number of training rows from which the distributions are estimated."""


@dataclass(frozen=True, slots=True)
class Marginal:
    """The distribution of the cells of one column."""

    counts: tuple[int, ...]
    """How often each class of its element with classes occurs; empty for a column without one."""
    mean: float
    """Of the real element; 0 without one."""
    deviation: float
    """Its standard deviation; 1 without one."""
    typical: float
    """The median of a number, of dates in seconds since 1970; NaN if all cells are missing. The most frequent class."""

    @property
    def log_p(self) -> NDArray[np.float64]:
        """The log of the frequency of each class, each counted once more, so that none is impossible."""
        counts = np.array(self.counts) + 1.0
        return np.log(counts / counts.sum())


@dataclass(frozen=True, slots=True)
class Marginals:
    """The distribution of the cells of each column of x, as of a decoder that returns the same for every row."""

    columns: tuple[Marginal, ...]

    @classmethod
    def of(cls, coding: TableCoding, frame: pd.DataFrame, *, seed: int = 0) -> Self:
        """Return the distributions of a typed frame; of more than 100,000 rows as many are drawn at random.

        Args:
            coding: The learned coding of the columns.
            frame: The rows.
            seed: Seed of the drawn rows.
        """
        if len(frame) > _MAX_ROWS:
            frame = frame.iloc[random_rows(len(frame), _MAX_ROWS, seed).numpy()]
        return cls(tuple(_marginal(each, frame[each.column.name]) for each in coding.codings))

    def state(self) -> list[dict[str, Any]]:
        """Return the distributions as values that JSON can represent."""
        return [asdict(each) | {"counts": list(each.counts)} for each in self.columns]

    @classmethod
    def from_state(cls, state: Sequence[Mapping[str, Any]]) -> Self:
        """Return the distributions that `state` returned."""
        return cls(tuple(Marginal(**{**each, "counts": tuple(each["counts"])}) for each in state))


def _marginal(coding: ColumnCoding, values: pd.Series[Any]) -> Marginal:
    x, mask = coding.encode(values)
    counts: tuple[int, ...] = ()
    if coding.class_element is not None:
        at = coding.class_element
        classes = x[mask[:, at], at].astype(np.int64)
        counts = tuple(np.bincount(classes, minlength=coding.elements[at].classes).tolist())
    if not isinstance(coding, NumberCoding):
        return Marginal(counts, 0.0, 1.0, float(np.argmax(counts)))
    mean, deviation = mean_and_deviation(x[mask[:, 0], 0].astype(np.float64))
    numbers = coding.numbers(values)
    present = numbers[np.isfinite(numbers)]
    return Marginal(counts, mean, deviation, float(np.median(present)) if len(present) else float("nan"))
