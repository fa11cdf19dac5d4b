"""When each row was taken: times that rise from row to row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import Rows
from aeframe.errors import AeframeError

NAMES = ("time", "date", "datetime", "timestamp")
"""A column of one of these names, in whatever case, is taken for the times where none is named."""


def likely(name: str) -> bool:
    """Say whether a column is one of times, by its name."""
    return name.strip().lower() in NAMES


def parsed(rows: Rows) -> NDArray[np.float64] | None:
    """Return the times ``(N,)`` as numbers: as they are, or seconds since 1970 for dates; None where there are none.

    Dates are ISO 8601, such as ``2016-07-01 00:00:00``; those with an offset from UTC are compared in UTC.

    Raises:
        AeframeError: A time that is neither, with its row.
    """
    times = rows.label
    if times is None:
        return None
    if times.dtype.kind == "M":
        return np.where(np.isnat(times), np.nan, times.astype("datetime64[us]").astype(np.int64) / 1e6)
    if times.dtype.kind in "biuf":
        return times.astype(np.float64)
    seconds = np.empty(len(times))
    for row, text in enumerate(times.tolist()):
        try:
            seconds[row] = _seconds(text)
        except ValueError:
            raise AeframeError(
                f"{rows.where(row)}: '{text}' is no time, expected a number or a date such as 2016-07-01 00:00:00; "
                "correct it, or name the column of times with data.time"
            ) from None
    return seconds


def late(times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return ``(N,)``, True for rows that do not come after all before them: out of order, repeated, or without a time.

    With these left out, what remains rises.
    """
    known = np.where(np.isnan(times), -np.inf, times)
    before = np.concatenate([[-np.inf], np.maximum.accumulate(known)[:-1]])
    return ~(known > before)


def sentence(rows: Rows, times: NDArray[np.float64], row: int) -> str:
    """Say what is wrong with the time of a row that is `late`."""
    assert rows.label is not None
    said = _text(rows.label[row])
    if np.isnan(times[row]):
        return f"{rows.where(row)}: the row has no time"
    before = int(np.nanargmax(times[:row]))
    if times[before] == times[row]:
        return f"{rows.where(row)}: time {said} is there already, in {rows.place} {_number(rows, before)}"
    return f"{rows.where(row)}: time {said} comes after {_text(rows.label[before])}, so the rows are not in order"


def gaps(times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return ``(N,)``, True for rows that more time lies before than one and a half of the usual steps."""
    steps = np.diff(times)
    found = np.zeros(len(times), bool)
    found[1:] = steps > 1.5 * np.median(steps)
    return found


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _text(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else f"'{value}'"


def _number(rows: Rows, row: int) -> int:
    numbers = rows.numbers if rows.numbers is not None else rows.index
    assert numbers is not None
    return int(numbers[row])
