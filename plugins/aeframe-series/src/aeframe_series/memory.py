"""Read a series in memory: an array, a tensor or a data frame.

Shapes: T time steps, D columns.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.samples import as_array, column_of, described, is_frame
from aeframe.data.tables import Rows
from aeframe.data.vector_in_memory import rows_of
from aeframe.errors import AeframeError, did_you_mean
from aeframe_series.recording import Recording
from aeframe_series.times import is_time_column


def recording_of(
    x: Any, *, origin: str, time: str | None = None, columns: tuple[str, ...] | None = None, y: Any = None
) -> Recording:
    """Return a series with its times.

    Args:
        x: An array or tensor ``(T, D)``, or a data frame of numbers.
        origin: How error messages name x.
        time: The time column of a data frame. If x lacks it, the times are an index of dates of pandas, or else a
            column named time, date, datetime or timestamp that is not one of `columns`.
        columns: The columns of a data frame to return, in this order; None for all but the times.
        y: ``(T,)`` 1 or True for known anomalies, 0 or False for all other time steps.

    Raises:
        AeframeError: A column is missing or has no numbers, x is not two-dimensional, or y is neither 0 nor 1.
    """
    times, name = None, None
    if is_frame(x):
        x, times, name = _without_times(x, time, columns or ())
    rows = rows_of(x, columns)
    if len(rows.header.shape) != 1:
        raise AeframeError(
            f"{origin} is {described(x)}, expected a series (time steps, columns); pass a list of several"
        )
    rows = Rows(np.asarray(rows.values[:]), origin, rows.columns, label=times)
    if y is None:
        return Recording(rows, name)
    flags = as_array(y)
    valid = np.isin(flags, (0, 1))
    if flags.shape != (len(rows),) or not valid.all():
        found = f"shape {flags.shape}" if flags.shape != (len(rows),) else repr(flags[~valid][0].item())
        raise AeframeError(
            f"{origin}: y flags known anomalies by 0 and 1, one for each of the {len(rows)} time steps, found {found}"
        )
    return Recording(rows, name, anomaly=flags.astype(bool))


def _without_times(
    frame: Any, time: str | None, columns: tuple[str, ...]
) -> tuple[Any, NDArray[Any] | None, str | None]:
    """Return a data frame without its times, the times ``(T,)`` and their name; None without times."""
    names = [str(name) for name in frame.columns]
    pandas = sys.modules.get("pandas")
    index = getattr(frame, "index", None)
    if pandas is not None and isinstance(index, pandas.DatetimeIndex) and time not in names:
        if index.tz is not None:
            index = index.tz_convert(None)
        return frame, index.to_numpy(), time or str(index.name or "time")
    chosen = time if time in names else next((n for n in names if is_time_column(n) and n not in columns), None)
    if chosen is None:
        return frame, None, None
    times = as_array(column_of(frame, chosen))
    if times.dtype.kind == "O":
        times = times.astype(str)
    kept = [original for original, name in zip(frame.columns, names, strict=True) if name != chosen]
    return frame[kept], times, chosen


def check_time_column(x: Any, time: str | None) -> None:
    """Raise an error if `time` is no column of the data frame x, which has no index of dates either."""
    if time is None or not is_frame(x):
        return
    names = [str(name) for name in x.columns]
    if time not in names:
        raise AeframeError(
            f"fit: x has no column '{time}' for time{did_you_mean(time, names)}; its columns are {', '.join(names)}"
        )
