"""Rows that are out of order, and files in which the time starts anew: several series in one file.

Shapes: N rows, S series.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import Rows
from aeframe.errors import AeframeError
from aeframe_series.recording import Recording
from aeframe_series.times import Times

_MAX_DISORDERED = 0.1
"""Fraction of rows out of order up to which they are single bad rows; with more the file is no single series."""
_MIN_DISORDERED = 3
"""Rows out of order that are single bad rows in any case."""


def out_of_order(times: Times, starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return ``(N,)``, True for rows whose time is not later than all previous ones of the series, or is missing.

    The times of the remaining rows of each series are strictly increasing.
    """
    missing, ticks = times.missing, times.ticks
    # Ranks, so that the running maximum of all series is taken at once: those of a later series are larger.
    _, ranks = np.unique(np.where(missing, ticks.dtype.type(0), ticks), return_inverse=True)
    number = np.searchsorted(starts, np.arange(len(ticks)), side="right") - 1
    known = number * (len(ticks) + 1) + np.where(missing, 0, ranks + 1)
    latest_before = np.concatenate([[-1], np.maximum.accumulate(known)[:-1]])
    return missing | ~(known > latest_before)


def describe_disorder(recording: Recording, times: Times, row: int, start: int = 0) -> str:
    """Return a message with the position and the fault of a row that is `out_of_order`.

    `start` is the first row of its series.
    """
    rows = recording.rows
    assert rows.label is not None
    if times.missing[row]:
        if row in rows.bad:
            return rows.bad[row]
        if times.unreadable[row]:
            return f"{rows.where(row)}: {_text(rows.label[row])} is not a time"
        return f"{rows.where(row)}: the row has no time"
    ticks = np.where(times.missing[start:row], times.ticks[start:row].min(), times.ticks[start:row])
    latest = start + int(ticks.argmax())
    time, latest_line = _text(rows.label[row]), f"{rows.place} {_number(rows, latest)}"
    if times.ticks[latest] == times.ticks[row]:
        return f"{rows.where(row)}: time {time} repeats that of {latest_line}"
    return f"{rows.where(row)}: time {time} is earlier than {_text(rows.label[latest])} in {latest_line}"


def check_few(recording: Recording, times: Times, disordered: NDArray[np.bool_], *, training: bool) -> None:
    """Check that only few rows are out of order, so that the file is one series with bad rows.

    Raises:
        AeframeError: More than a tenth of the rows are out of order: the file holds several series, or is not sorted.
    """
    readable = disordered & ~times.missing
    share = readable.sum() / len(readable)
    if share <= _MAX_DISORDERED or readable.sum() < _MIN_DISORDERED:
        return
    first = int(np.flatnonzero(readable)[0])
    number = recording.number
    fault = describe_disorder(recording, times, first, int(recording.starts[number[first]]))
    fault = f"{fault}, and {int(readable.sum())} of {len(readable)} rows are out of order"
    if recording.names is not None:
        raise AeframeError(f"{fault}; correct the times, or name further columns of the series with data.series")
    if not training:
        raise AeframeError(f"{fault}; write each series to a file of its own, in order of time")
    known = times.ticks[~times.missing]
    if len(np.unique(known)) == len(known):
        raise AeframeError(f"{fault}; sort the rows by time with data.sort=true, or correct the file")
    columns = None if recording.find_series is None else recording.find_series()
    if columns is not None:
        name = columns[0] if len(columns) == 1 else f"[{','.join(columns)}]"
        raise AeframeError(
            f"{fault}, because the file holds several series; name the column that tells them apart: data.series={name}"
        )
    raise AeframeError(
        f"{fault}, so that the file seems to hold several series; name the column that tells them apart with "
        "data.series, or write each to a file of its own"
    )


def _text(value: Any) -> str:
    if isinstance(value, (int, float, np.number)):
        return f"{value:.10g}"
    return f"'{value.decode() if isinstance(value, bytes) else value}'"


def _number(rows: Rows, row: int) -> int:
    """Return the number of a row in error messages."""
    numbers = rows.numbers if rows.numbers is not None else rows.index
    assert numbers is not None
    return int(numbers[row])
