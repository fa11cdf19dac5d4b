"""Copies of training rows among synthetic rows, and distances to the closest training row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe_tabular.column import Column
from aeframe_tabular.quality.cells import (
    Floats,
    class_numbers_of,
    numbers_of,
    sample_rows,
    used_columns,
)

_MAX_QUERIES = 2_000
"""The largest number of rows whose distance to the closest training row is computed."""
_MAX_RECORDS = 30_000
"""The largest number of training rows among which the closest is searched."""
_BLOCK = 100
"""The number of rows whose distances to all training rows are in memory."""
_MISSING = 2.0
"""In place of the rank of a missing number: at a distance of at least 1 from all ranks."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """How close rows are to the training rows."""

    copies: float
    """The share of rows that equal a training row."""
    median: float
    """The median distance to the closest training row, in [0, 1]."""
    low: float
    """The 5 % quantile of these distances."""


@dataclass(frozen=True, slots=True)
class PrivacyScores:
    """The closeness of synthetic rows to the training rows, and that of held-out rows.

    Synthetic rows that are closer than held-out ones hint at memorised rows. That they are not is no guarantee of
    privacy: a single row can be disclosed while averages and quantiles are inconspicuous.
    """

    synthetic: Closeness
    held_out: Closeness
    num_queries: int
    """The number of synthetic rows whose distances were computed."""
    num_held_out: int
    """The number of held-out rows whose distances were computed."""
    num_records: int
    """The number of training rows among which the closest was searched."""

    def protocol(self) -> str:
        """Return in words what was compared."""
        return (
            f"distances of {self.num_queries} synthetic and {self.num_held_out} held-out rows to the closest of "
            f"{self.num_records} training rows; no guarantee of privacy"
        )


def privacy_scores(
    real_train: pd.DataFrame,
    real_test: pd.DataFrame,
    synthetic: pd.DataFrame,
    columns: Sequence[Column],
    *,
    max_queries: int = _MAX_QUERIES,
    max_records: int = _MAX_RECORDS,
    seed: int = 0,
) -> PrivacyScores:
    """Return how close synthetic and held-out rows are to the training rows.

    A smell test and no guarantee of privacy, see `PrivacyScores`.

    The distance of two rows is the mean over the columns, as of Gower (1971, Biometrics 27:857): the absolute
    difference of the quantile ranks of numbers and dates among the training rows, 1 for different classes, 0 for equal
    ones. A missing cell has distance 1 to a number and 0 to a missing one.

    Args:
        real_train: The rows that the model was trained on.
        real_test: Real rows that it was not trained on.
        synthetic: Its samples.
        columns: The columns of all.
        max_queries: The largest number of rows of either table whose distances are computed; drawn at random.
        max_records: The largest number of training rows among which the closest is searched; drawn at random. Copies
            are searched among all rows.
        seed: Seed of the drawn rows.

    Raises:
        AeframeError: A column or all rows are missing from a frame.
    """
    used = used_columns(columns, real_train, real_test, synthetic)
    known = np.unique(_row_hashes(real_train, used))
    records = sample_rows(real_train, max_records, seed)
    coded_records = _coordinates(records, real_train, used)
    scores, numbers = [], []
    for frame in (synthetic, real_test):
        queries = sample_rows(frame, max_queries, seed)
        distances = _closest(_coordinates(queries, real_train, used), coded_records)
        copies = float(np.isin(_row_hashes(frame, used), known).mean())
        scores.append(Closeness(copies, *(float(value) for value in np.quantile(distances, [0.5, 0.05]))))
        numbers.append(len(queries))
    return PrivacyScores(scores[0], scores[1], numbers[0], numbers[1], len(records))


def copied_rows(real: pd.DataFrame, synthetic: pd.DataFrame, columns: Sequence[Column]) -> NDArray[np.bool_]:
    """Return which synthetic rows ``(N,)`` equal one of the real rows.

    Numbers are equal after rounding to the decimals of the column, without decimals in single precision. Missing cells
    are equal.
    """
    used = used_columns(columns, real, synthetic)
    return np.isin(_row_hashes(synthetic, used), _row_hashes(real, used))


def _row_hashes(frame: pd.DataFrame, columns: Sequence[Column]) -> NDArray[np.uint64]:
    """Return a hash of each row ``(N,)``, equal for equal rows."""
    cells = {}
    for position, column in enumerate(columns):
        if column.is_numeric:
            numbers = numbers_of(frame, column)
            if column.kind != "date":
                decimals = 0 if column.kind == "integer" else column.decimals
                numbers = numbers.astype(np.float32).astype(np.float64) if decimals is None else numbers.round(decimals)
            # Minus zero becomes zero.
            cells[position] = numbers + 0.0
        else:
            cells[position] = class_numbers_of(frame, column).astype(np.float64)
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(cells), index=False), dtype=np.uint64)


def _coordinates(frame: pd.DataFrame, real: pd.DataFrame, columns: Sequence[Column]) -> NDArray[np.float32]:
    """Return the rows as ``(N, D)``: the distance of two is the mean over D of the absolute difference, at most 1."""
    coordinates = [
        quantile_ranks(numbers_of(frame, column), numbers_of(real, column))
        if column.is_numeric
        else class_numbers_of(frame, column)
        for column in columns
    ]
    return np.stack(coordinates, axis=1).astype(np.float32)


def quantile_ranks(values: Floats, real: Floats) -> Floats:
    """Return the quantile rank of each number ``(N,)`` among the real ones, in [0, 1]; 2 for missing cells.

    The rank is the share of smaller numbers plus half of the share of equal ones.
    """
    present = np.sort(real[~np.isnan(real)])
    below, up_to = (np.searchsorted(present, values, side=side) for side in ("left", "right"))
    return np.where(np.isnan(values), _MISSING, (below + up_to) / (2 * max(1, len(present))))


def _closest(queries: NDArray[np.float32], records: NDArray[np.float32]) -> Floats:
    """Return the distance of each row ``(N, D)`` to the closest of the records ``(M, D)``, in [0, 1]."""
    num_columns = records.shape[1]
    by_column = np.ascontiguousarray(records.T)
    closest = np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        total = np.zeros((len(block), len(records)), dtype=np.float32)
        difference = np.empty_like(total)
        for column in range(num_columns):
            np.subtract(block[:, column, None], by_column[column], out=difference)
            np.abs(difference, out=difference)
            np.minimum(difference, 1.0, out=difference)
            total += difference
        closest[start : start + _BLOCK] = total.min(axis=1) / num_columns
    return closest
