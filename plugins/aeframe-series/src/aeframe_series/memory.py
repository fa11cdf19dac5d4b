"""Read series in memory: arrays, tensors, data frames, and lists of them.

Shapes: T time steps, D columns, N rows of all series.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.samples import as_array, column_of, described, is_frame
from aeframe.data.tables import Rows
from aeframe.data.vector_in_memory import rows_of
from aeframe.errors import AeframeError, did_you_mean
from aeframe_series.arrange import arrange
from aeframe_series.array_file import series_of_array
from aeframe_series.recording import Recording
from aeframe_series.times import TimeOptions, Times, time_column


def recordings_of(
    x: Any,
    *,
    origin: str,
    time: str | None = None,
    columns: tuple[str, ...] | None = None,
    series: tuple[str, ...] | None = None,
    options: TimeOptions | None = None,
    y: Any = None,
) -> list[Recording]:
    """Return the series in a list of arrays, tensors or data frames, or in one of them; see `recording_of`.

    Args:
        x: The list; an array ``(S, T, D)`` is S series, in which rows of NaN at the end are padding.
        origin: How error messages name x.
        time: The time column of data frames.
        columns: The columns of data frames to return; None for those of the first one.
        series: The columns of data frames that name the series of each row.
        options: How the times are read.
        y: The anomaly flags, as `recording_of` takes them; for several items a list.
    """
    items = list(x) if isinstance(x, (list, tuple)) else [x]
    flags = list(y) if isinstance(x, (list, tuple)) and isinstance(y, (list, tuple)) else [y] * len(items)
    recordings: list[Recording] = []
    for number, (item, item_flags) in enumerate(zip(items, flags, strict=True)):
        name = origin if len(items) == 1 else f"{origin}[{number}]"
        recording = recording_of(
            item, origin=name, time=time, columns=columns, series=series, options=options, y=item_flags
        )
        columns = recording.rows.columns if columns is None else columns
        recordings.append(recording)
    return recordings


def recording_of(
    x: Any,
    *,
    origin: str,
    time: str | None = None,
    columns: tuple[str, ...] | None = None,
    series: tuple[str, ...] | None = None,
    options: TimeOptions | None = None,
    y: Any = None,
) -> Recording:
    """Return the series in an array, a tensor or a data frame, with their times.

    Args:
        x: An array or tensor ``(T,)``, ``(T, D)`` or ``(S, T, D)``, or a data frame of numbers.
        origin: How error messages name x.
        time: The time column of a data frame. If x lacks it, the times are an index of dates of pandas, or else a
            column that `time_column` selects and that is not one of `columns`.
        columns: The columns of a data frame to return, in this order; None for all but the times and `series`.
        series: The columns of a data frame that name the series of each row, if it has them.
        options: How the times are read.
        y: ``(T,)`` 1 or True for known anomalies, 0 or False for all other time steps.

    Raises:
        AeframeError: A column is missing or has no numbers, x has more dimensions, or y is neither 0 nor 1.
    """
    times, name, ids, used = None, None, None, None
    notes: list[str] = []
    if is_frame(x):
        x, time, series, notes = _without_levels(x, origin, time, series)
        names = tuple(str(name) for name in x.columns)
        used = series if series and {*series} <= {*names} else None
        if used:
            # Ids of any type, as text.
            cells = [as_array(column_of(x, column)).astype(str) for column in used]
            ids = cells[0]
            for more in cells[1:]:
                ids = np.char.add(np.char.add(ids, "/"), more)
            x = x[[original for original, name in zip(x.columns, names, strict=True) if name not in used]]
        x, times, name = _without_times(x, time, columns or ())
    elif not hasattr(x, "tocsr") and (values := as_array(x)).dtype.kind in "biuf" and values.ndim in (1, 3):
        array = series_of_array(values, origin)
        x, ids, notes = np.asarray(array.rows.values), array.ids, array.notes
        used = None if ids is None else ("number",)
    rows = rows_of(x, columns)
    if len(rows.header.shape) != 1:
        raise AeframeError(
            f"{origin} is {described(x)}, expected a series (time steps, columns); pass a list of several"
        )
    rows = Rows(np.asarray(rows.values[:]), origin, rows.columns, label=times)
    flags = None if y is None else _flags(y, origin, len(rows))
    recording = arrange(rows, time=name, ids=ids, series=used, anomaly=flags, options=options)
    recording.notes = [*notes, *recording.notes]
    return recording


def _flags(y: Any, origin: str, num_rows: int) -> NDArray[np.bool_]:
    flags = as_array(y)
    valid = np.isin(flags, (0, 1))
    if flags.shape != (num_rows,) or not valid.all():
        found = f"shape {flags.shape}" if flags.shape != (num_rows,) else repr(flags[~valid][0].item())
        raise AeframeError(
            f"{origin}: y flags known anomalies by 0 and 1, one for each of the {num_rows} time steps, found {found}"
        )
    return flags.astype(bool)


def join(recordings: Sequence[Recording], origin: str | None = None) -> Recording:
    """Return several recordings as one, their series one after another; `Rows.index` counts the rows of all.

    Args:
        recordings: The recordings, with the same number of columns.
        origin: How error messages name all of them; None for the name of the first one.

    Raises:
        AeframeError: Some have times and others have none, or times of another kind.
    """
    first = recordings[0]
    if len(recordings) == 1:
        return first
    lengths = [len(recording.rows) for recording in recordings]
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    kinds = {None if recording.times is None else recording.times.values.dtype.kind for recording in recordings}
    if len(kinds) > 1:
        raise AeframeError(
            f"{first.rows.origin}: some recordings have times and others have none, or have times of another kind; "
            "give all the same, or none"
        )
    index = [recording.rows.index for recording in recordings if recording.rows.index is not None]
    number = [str(position) for position in range(len(recordings))]
    names = [
        name
        for position, recording in zip(number, recordings, strict=True)
        for name in ([position] if recording.names is None else recording.names)
    ]
    shifted = np.concatenate([rows + offset for rows, offset in zip(index, offsets, strict=True)])
    rows = Rows(
        np.concatenate([recording.rows.array for recording in recordings]),
        origin or f"{first.rows.origin.removesuffix('[0]')} (all recordings one after another)",
        first.rows.columns,
        label=None if first.rows.label is None else np.concatenate([_label(recording) for recording in recordings]),
        index=shifted,
    )
    flags = [
        np.zeros(len(recording.rows), bool) if recording.anomaly is None else recording.anomaly
        for recording in recordings
    ]
    return replace(
        first,
        rows=rows,
        anomaly=None if first.anomaly is None else np.concatenate(flags),
        starts=np.concatenate(
            [recording.starts + offset for recording, offset in zip(recordings, offsets, strict=True)]
        ),
        names=tuple(names),
        series=first.series or ("number",),
        times=None if first.times is None else _joined_times([recording.times for recording in recordings]),
        notes=[note for recording in recordings for note in recording.notes],
    )


def _label(recording: Recording) -> NDArray[Any]:
    assert recording.rows.label is not None
    return recording.rows.label


def _joined_times(times: Sequence[Times | None]) -> Times:
    present = [part for part in times if part is not None]
    return Times(
        np.concatenate([part.values for part in present]),
        present[0].form,
        np.concatenate([part.unreadable for part in present]),
    )


def _without_levels(
    frame: Any, origin: str, time: str | None, series: tuple[str, ...] | None
) -> tuple[Any, str | None, tuple[str, ...] | None, list[str]]:
    """Return a data frame whose index of several levels are columns, the time column, the ids, and notes."""
    pandas = sys.modules.get("pandas")
    index = getattr(frame, "index", None)
    if pandas is None or not isinstance(index, pandas.MultiIndex):
        return frame, time, series, []
    names = [str(name) if name is not None else f"level_{number}" for number, name in enumerate(index.names)]
    dated = [name for name, level in zip(names, index.levels, strict=True) if level.dtype.kind in "mM"]
    time = time or (dated[0] if dated else time_column(tuple(names), ()))
    if time is None and series is None and index.levels[-1].dtype.kind in "iuf":
        time = names[-1]
    frame = frame.reset_index(names=names)
    if series is None:
        series = tuple(name for name in names if name != time)
    return frame, time, series, [f"{origin}: the index has the levels {', '.join(names)}, which are no columns of x"]


def _without_times(
    frame: Any, time: str | None, columns: tuple[str, ...]
) -> tuple[Any, NDArray[Any] | None, str | None]:
    """Return a data frame without its times, the times ``(T,)`` and their name; None without times."""
    names = tuple(str(name) for name in frame.columns)
    pandas = sys.modules.get("pandas")
    index = getattr(frame, "index", None)
    if pandas is not None and time not in names:
        if isinstance(index, pandas.PeriodIndex):
            index = index.to_timestamp()
        if isinstance(index, (pandas.DatetimeIndex, pandas.TimedeltaIndex)):
            if getattr(index, "tz", None) is not None:
                index = index.tz_convert(None)
            return frame, index.to_numpy(), time or str(index.name or "time")
    chosen = time if time in names else time_column(names, columns)
    if chosen is None:
        return frame, None, None
    times = as_array(column_of(frame, chosen))
    if times.dtype.kind == "O":
        times = times.astype(str)
    kept = [original for original, name in zip(frame.columns, names, strict=True) if name != chosen]
    return frame[kept], times, chosen


def check_column(x: Any, name: str | None, role: str) -> None:
    """Raise an error if `name` is no column of the data frame x."""
    if name is None or not is_frame(x):
        return
    names = [str(name) for name in x.columns]
    if name not in names:
        raise AeframeError(
            f"fit: x has no column '{name}' for {role}{did_you_mean(name, names)}; its columns are {', '.join(names)}"
        )
