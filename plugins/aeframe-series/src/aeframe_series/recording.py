"""`Recording`: multivariate time series in memory, as the datasets of this plugin load them.

Shapes: N time steps of all series one after another, D columns, S series.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import Rows, TextOptions
from aeframe_series.times import TimeOptions, Times

Segments = NDArray[np.int64]
"""``(n, 2)``: the first row and the exclusive last row of parts of series; windows are cut within one of them."""


@dataclass(slots=True)
class Recording:
    """One series, or several of the same columns one after another, from which windows are cut.

    `aeframe_series.arrange.arrange` makes one of the rows of a file.
    """

    rows: Rows
    """``(N, D)``, one row per time step, NaN where a value is missing; `Rows.label` holds the times as in the file, and
    `Rows.index` the row of the file, as the rows of a series may be scattered in it."""
    time: str | None = None
    """The name of the time column."""
    splits: dict[str, Segments] | None = None
    """The parts of each of `aeframe.data.split_record.SPLITS`; None for a file that is not used for training."""
    anomaly: NDArray[np.bool_] | None = None
    """``(N,)``, True for time steps that are known anomalies."""
    starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    """``(S,)`` the row at which each series begins, ascending from 0; no window contains rows of two series."""
    names: tuple[str, ...] | None = None
    """The name of each of the S series; None for one series without a name."""
    series: tuple[str, ...] | None = None
    """The columns that name the series."""
    times: Times | None = None
    """The times that `Rows.label` holds; None without times."""
    notes: list[str] = field(default_factory=list)
    """One sentence for everything that was changed or guessed."""
    options: TimeOptions = field(default_factory=TimeOptions)
    """How the times were read."""
    text: TextOptions = field(default_factory=TextOptions)
    """How the text file is written, as far as the user stated it."""
    find_series: Callable[[], tuple[str, ...] | None] | None = None
    """Returns the columns of the file that tell series apart, for the message about times that start anew."""

    @property
    def number(self) -> NDArray[np.int64]:
        """``(N,)`` the number of the series of each row, from 0."""
        return np.searchsorted(self.starts, np.arange(len(self.rows)), side="right") - 1

    @property
    def is_first(self) -> NDArray[np.bool_]:
        """``(N,)``, True for the first row of each series."""
        is_first = np.zeros(len(self.rows), bool)
        is_first[self.starts] = True
        return is_first

    @property
    def whole(self) -> Segments:
        """All series, each as one segment."""
        return np.stack([self.starts, np.append(self.starts[1:], len(self.rows))], axis=1)

    @property
    def identity(self) -> RowIdentity:
        """What identifies each row in outputs."""
        assert self.rows.index is not None
        return RowIdentity(self.rows.index, self.rows.label, None if self.names is None else self.number, self.names)


@dataclass(frozen=True, slots=True)
class RowIdentity:
    """What identifies the N rows of series in outputs: the row of the file, the time and the series."""

    row: NDArray[np.int64]
    """``(N,)`` the row of the file."""
    time: NDArray[Any] | None = None
    """``(N,)`` the time as in the file; None without times."""
    number: NDArray[np.int64] | None = None
    """``(N,)`` the number of the series; None for one without a name."""
    names: tuple[str, ...] | None = None
    """The names of the series."""

    def at(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return columns ``(n,)`` of rows: ``series`` and ``time`` if there are any, and ``row``."""
        columns: dict[str, NDArray[Any]] = {}
        if self.names is not None and self.number is not None:
            columns["series"] = np.array(self.names)[self.number[rows]]
        if self.time is not None:
            columns["time"] = _shown(self.time[rows])
        return {**columns, "row": self.row[rows]}

    def kept(self, rows: NDArray[np.int64]) -> RowIdentity:
        """Return the identity of some rows."""
        time, number = (None if column is None else column[rows] for column in (self.time, self.number))
        return RowIdentity(self.row[rows], time, number, self.names)


def named_identity(
    columns: Mapping[str, NDArray[Any]], *, time: str | None, series: tuple[str, ...] | None
) -> dict[str, NDArray[Any]]:
    """Return the columns of `RowIdentity.at` under the names of the file: first the series, then the time.

    The row is among them only if rows of the file are missing.
    """
    named: dict[str, NDArray[Any]] = {}
    row = columns["row"]
    if not np.array_equal(row, np.arange(len(row))):
        named["row"] = row
    if "series" in columns:
        parts = [name.split("/") for name in columns["series"].tolist()] if series and len(series) > 1 else []
        if series and parts and all(len(part) == len(series) for part in parts):
            named |= {name: np.array(cells) for name, cells in zip(series, zip(*parts, strict=True), strict=True)}
        else:
            named[series[0] if series and len(series) == 1 else "series"] = columns["series"]
    if "time" in columns:
        named[time or "time"] = columns["time"]
    return named


def as_text(column: NDArray[Any]) -> NDArray[np.str_]:
    """Return a column as text: dates and durations as pandas writes them."""
    if column.dtype.kind in "mM":
        import pandas as pd

        return pd.Series(column).astype(str).to_numpy(np.str_)
    return column.astype(np.str_)


def compact(label: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return text as bytes if it is ASCII, which takes a quarter of the memory."""
    if label is None or label.dtype.kind != "U":
        return label
    try:
        return label.astype(np.bytes_)
    except UnicodeEncodeError:
        return label


def _shown(label: NDArray[Any]) -> NDArray[Any]:
    """Return times as outputs have them: bytes as text, numbers that are whole without a point."""
    if label.dtype.kind == "S":
        return label.astype(np.str_)
    if label.dtype.kind == "f" and bool((label == np.floor(label)).all()) and bool((np.abs(label) < 2**53).all()):
        return label.astype(np.int64)
    return label
