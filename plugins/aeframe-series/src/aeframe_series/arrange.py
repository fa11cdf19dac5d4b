"""Arrange the rows of a file as series one after another, each in the order of its times: `arrange`.

Shapes: N rows, S series.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aeframe.data.tables import Rows
from aeframe.errors import AeframeError
from aeframe_series.recording import Recording, compact
from aeframe_series.times import TimeOptions, Times, parse_times

_MIN_REVERSED = 3
"""Rows of a series in descending order that is reversed; of fewer, one row may be out of order."""


def arrange(
    rows: Rows,
    *,
    time: str | None = None,
    ids: NDArray[Any] | None = None,
    series: tuple[str, ...] | None = None,
    anomaly: NDArray[np.bool_] | None = None,
    options: TimeOptions | None = None,
) -> Recording:
    """Return the rows with those of each series one after another, in ascending order of time if they descend.

    Args:
        rows: ``(N, D)`` as in the file; `Rows.label` holds the times.
        time: The name of the time column.
        ids: ``(N,)`` the name of the series of each row; None for one series.
        series: The columns that `ids` were read from.
        anomaly: ``(N,)``, True for known anomalies.
        options: How the times are read.

    Raises:
        AeframeError: A row without the name of its series, or times that cannot be read.
    """
    options = options or TimeOptions()
    recording = Recording(rows, time, anomaly=anomaly, series=series)
    if ids is not None:
        recording = _grouped(recording, ids)
    recording.options = options
    recording.times = parse_times(recording.rows, recording.starts, options)
    recording.rows.label = compact(recording.rows.label)
    if recording.times is None:
        return recording
    sort = ids is not None if options.sort is None else options.sort
    return _sorted(recording, recording.times) if sort else _ascending(recording, recording.times)


def _grouped(recording: Recording, ids: NDArray[Any]) -> Recording:
    """Return the rows ordered by series, in the order of the first row of each."""
    import pandas as pd

    rows = recording.rows
    nameless = np.char.strip(ids.astype(str)) == ""
    if nameless.any():
        raise AeframeError(
            f"{rows.where(int(np.flatnonzero(nameless)[0]))}: the row has no name of its series in "
            f"{_listed(recording.series)}; add it, or remove the row"
        )
    codes, names = pd.factorize(ids.astype(object))
    recording.names = tuple(str(name) for name in names)
    sizes = np.bincount(codes, minlength=len(names))
    if (np.diff(codes) < 0).any():
        recording = reordered(recording, np.argsort(codes, kind="stable"))
    recording.starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    num_rows = f"{sizes.min()}" + (f" to {sizes.max()}" if sizes.max() > sizes.min() else "")
    recording.notes.append(
        f"'{rows.origin}' has {len(names)} series ({_listed(recording.series)}) of {num_rows} rows; no window "
        "has rows of two series"
    )
    return recording


def _ascending(recording: Recording, times: Times) -> Recording:
    """Return the recording with the rows of each series whose times all descend in reverse order."""
    number, known = recording.number, np.flatnonzero(~times.missing)
    ticks = times.ticks[known]
    same = np.diff(number[known]) == 0
    num_series = len(recording.starts)
    num_up, num_down = (
        np.bincount(number[known][1:][same & changed], minlength=num_series)
        for changed in (np.diff(ticks) > 0, np.diff(ticks) < 0)
    )
    is_descending = (num_up == 0) & (num_down >= _MIN_REVERSED - 1)
    if not is_descending.any():
        return recording
    position = np.arange(len(number))
    order = np.lexsort((np.where(is_descending[number], -position, position), number))
    what = "its rows are" if num_series == 1 else f"the rows of {is_descending.sum()} of {num_series} series are"
    recording = reordered(recording, order)
    recording.notes.append(
        f"'{recording.rows.origin}': {what} in descending order of time, newest first; they are reversed"
    )
    return recording


def _sorted(recording: Recording, times: Times) -> Recording:
    """Return the recording with the rows of each series sorted by time; rows without a time stay at its end."""
    number, missing = recording.number, times.missing
    order = np.lexsort((np.where(missing, 0, times.ticks), missing, number))
    moved = order != np.arange(len(order))
    if not moved.any():
        return recording
    num_moved = len(np.unique(number[moved]))
    what = "its rows" if len(recording.starts) == 1 else f"the rows of {num_moved} of {len(recording.starts)} series"
    recording = reordered(recording, order)
    recording.notes.append(f"'{recording.rows.origin}': {what} are not in order of time; they are sorted")
    return recording


def reordered(recording: Recording, order: NDArray[np.int64]) -> Recording:
    """Return the recording with its rows in another order, which must keep the rows of each series together."""
    return replace(
        recording,
        rows=recording.rows.rows(torch.from_numpy(order)),
        anomaly=None if recording.anomaly is None else recording.anomaly[order],
        times=None if recording.times is None else recording.times.rows(order),
    )


def _listed(columns: tuple[str, ...] | None) -> str:
    names = [f"'{name}'" for name in columns or ()]
    return f"column{'s' * (len(names) > 1)} {', '.join(names)}"
