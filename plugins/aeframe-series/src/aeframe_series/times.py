"""Parse the time column of a series, and find gaps and rows that are out of order.

`Rows` holds the N rows of a series, and `Rows.label` their times as in the file.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import Rows
from aeframe.errors import AeframeError

TIME_NAMES = ("time", "date", "datetime", "timestamp")
"""Without a named time column, a column with one of these names in any case is used."""
_GAP_FACTOR = 1.5
"""A difference between consecutive times above this multiple of the median is a gap."""


def is_time_column(name: str) -> bool:
    """Return whether the name of a column is one of `TIME_NAMES`, in any case."""
    return name.strip().lower() in TIME_NAMES


def parse_times(rows: Rows) -> NDArray[np.float64] | None:
    """Return the times ``(N,)`` as numbers, dates as seconds since 1970; None without a time column.

    Dates are ISO 8601, such as ``2016-07-01 00:00:00``; those without an offset from UTC are in UTC.

    Raises:
        AeframeError: A cell that is neither a number nor a date, with its row.
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
                f"{rows.where(row)}: '{text}' is not a time, expected a number or a date such as 2016-07-01 00:00:00; "
                "correct it, or name the time column with data.time"
            ) from None
    return seconds


def out_of_order(times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return ``(N,)``, True for rows whose time is not later than all previous times, or is missing (NaN).

    The times of the remaining rows are strictly increasing.
    """
    known = np.where(np.isnan(times), -np.inf, times)
    latest_before = np.concatenate([[-np.inf], np.maximum.accumulate(known)[:-1]])
    return ~(known > latest_before)


def describe_disorder(rows: Rows, times: NDArray[np.float64], row: int, start: int = 0) -> str:
    """Return a message with the position and the fault of a row that is `out_of_order`.

    `start` is the first row of its recording.
    """
    assert rows.label is not None
    if np.isnan(times[row]):
        return f"{rows.where(row)}: the row has no time"
    latest = start + int(np.nanargmax(times[start:row]))
    time, latest_line = _text(rows.label[row]), f"{rows.place} {_number(rows, latest)}"
    if times[latest] == times[row]:
        return f"{rows.where(row)}: time {time} repeats that of {latest_line}"
    return f"{rows.where(row)}: time {time} is earlier than {_text(rows.label[latest])} in {latest_line}"


def after_gaps(times: NDArray[np.float64], is_first: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return ``(N,)``, True for rows after a gap.

    A gap is a difference between consecutive times of more than 1.5 times the median.

    Args:
        times: ``(N,)``.
        is_first: ``(N,)``, True for the first row of each recording, which is after no gap.
    """
    within = ~is_first[1:]
    differences = np.diff(times)
    after_gap = np.zeros(len(times), bool)
    after_gap[1:] = within & (differences > _GAP_FACTOR * np.median(differences[within]))
    return after_gap


def _seconds(text: str) -> float:
    """Return an ISO date as seconds since 1970."""
    date = datetime.fromisoformat(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _text(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else f"'{value}'"


def _number(rows: Rows, row: int) -> int:
    """Return the number of a row in error messages."""
    numbers = rows.numbers if rows.numbers is not None else rows.index
    assert numbers is not None
    return int(numbers[row])
