"""Find the columns that tell several series in one table apart: ids of entities in long tables, known as panels.

Shapes: N rows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import Rows
from aeframe.errors import AeframeError
from aeframe_series.recording import Recording

_ID_NAMES = re.compile(
    r"(.*[\W_])?(id|ids|unit|entity|series|subject|patient|station|sensor|device|machine|site|store|item|sku|firm|"
    r"company|country|state|region|symbol|ticker|group|name|key|engine|vehicle|user|run|trial|episode)s?",
    re.IGNORECASE,
)
_CALENDAR_NAMES = re.compile(r"(year|quarter|month|week|weekday|day|hour|minute|second)s?", re.IGNORECASE)
_MAX_CANDIDATES = 8
"""Columns that are tried, alone and in groups of up to three."""
_MIN_BLOCK = 2
"""Rows of each block of equal ids in the mean."""


def find_series(
    recording: Recording, names: tuple[str, ...], column: Callable[[str], NDArray[np.generic]]
) -> tuple[str, ...] | None:
    """Return the columns of a table within whose values no time occurs twice; None without any.

    Args:
        recording: One series with times that are out of order.
        names: The columns of the table.
        column: Returns a column by name.
    """
    import pandas as pd

    assert recording.times is not None
    candidates: dict[str, NDArray[np.int64]] = {}
    for name in sorted(names, key=lambda name: _ID_NAMES.fullmatch(name) is None):
        if name == recording.time or _CALENDAR_NAMES.fullmatch(name.strip()) or len(candidates) == _MAX_CANDIDATES:
            continue
        codes, values = pd.factorize(column(name).astype(object))
        if 1 < len(values) <= len(codes) / _MIN_BLOCK:
            candidates[name] = codes
    ticks = pd.factorize(recording.times.ticks)[0]
    for size in (1, 2, 3):
        for chosen in itertools.combinations(candidates, size):
            keys = pd.DataFrame({str(number): candidates[name] for number, name in enumerate(chosen)} | {"t": ticks})
            if not keys.duplicated().any():
                return chosen
    return None


def check_no_ids(rows: Rows, *, chosen: bool, has_times: bool) -> list[str]:
    """Check that no column of x is the id of series or a time, and return notes about doubtful columns.

    Args:
        rows: The rows in the order of the file.
        chosen: Whether the user chose the columns of x by name.
        has_times: Whether the rows have times in ascending order, which those of several series have not.

    Raises:
        AeframeError: There are no times, and a column has the name of an id and whole numbers that occur repeatedly.
    """
    if rows.columns is None or chosen or len(rows) < 2 * _MIN_BLOCK:
        return []
    notes = []
    values = rows.array
    for number, name in enumerate(rows.columns):
        column = values[:, number]
        if not np.isfinite(column).all() or (column != np.floor(column)).any():
            continue
        distinct = len(np.unique(column))
        differences = np.diff(column)
        num_blocks = 1 + int((differences != 0).sum())
        if distinct == len(column) and (differences == differences[0]).all():
            notes.append(
                f"'{rows.origin}': column '{name}' grows by {differences[0]:g} in each row, as times and row numbers "
                f"do, and is part of x; data.time={name} makes it the time, data.exclude=[{name}] leaves it out"
            )
        elif has_times:
            continue
        elif 1 < distinct <= len(column) / _MIN_BLOCK and _ID_NAMES.fullmatch(name.strip()):
            raise AeframeError(
                f"'{rows.origin}': column '{name}' seems to name {distinct} series, and would be part of x; set "
                f"data.series={name} so that no window has rows of two series, or choose the columns of x with "
                "data.columns"
            )
        elif 1 < distinct == num_blocks <= len(column) / _MIN_BLOCK:
            notes.append(
                f"'{rows.origin}': column '{name}' has {distinct} values, each in one block of rows, and is part of x; "
                f"if it tells series apart, set data.series={name}"
            )
    return notes
