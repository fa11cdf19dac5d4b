"""Read series from a file: `read_series`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import Choice, Header, Rows, TextOptions, column_names, read_header, read_rows
from aeframe.errors import AeframeError, did_you_mean
from aeframe_series.arrange import arrange
from aeframe_series.array_file import SeriesArray, array_header, other_array, read_array
from aeframe_series.panels import find_series
from aeframe_series.recording import Recording
from aeframe_series.times import TimeOptions, parse_times, time_column

_ARRAYS = (".npy", ".npz")


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """The columns of a file (the arrays of an NPZ file) that hold x, the times, the series and the anomaly flags."""

    columns: tuple[str, ...] | None = None
    """Columns of x by name; None selects all columns without another role."""
    time: str | None = None
    """The time column; None selects one by its name, see `aeframe_series.times.time_column`."""
    anomaly: str | None = None
    """The column of anomaly flags."""
    key: str | None = None
    """The array of x in an NPZ file."""
    exclude: tuple[str, ...] = ()
    """Columns that are not read."""
    text: TextOptions = field(default_factory=TextOptions)
    """How a text file is written, as far as it is known."""
    series: tuple[str, ...] = ()
    """The columns that name the series of each row."""
    times: TimeOptions = field(default_factory=TimeOptions)
    """How the times are read."""


def read_series_header(path: Path, roles: ColumnRoles) -> Header:
    """Return the number and the names of the columns of x, without reading the whole file.

    Raises:
        AeframeError: An array of more than three dimensions, or a column that does not exist.
    """
    if (header := array_header(path, roles.key)) is not None:
        return header
    header = read_header(path, _choice(path, roles))
    if len(header.shape) != 1:
        raise AeframeError(
            f"'{path.name}' has rows of shape {header.shape}, expected an array (time steps, columns), or (series, "
            "time steps, columns)"
        )
    return header


def read_series(path: Path, roles: ColumnRoles, *, mapped: bool = False) -> Recording:
    """Read the columns of x, the times, the series and the anomaly flags of a file.

    With `mapped` the values of an NPY file are a memory map. Rows with a cell that is not a number are kept for
    `check_series`, with a sentence in `Rows.bad`.

    Raises:
        AeframeError: As `read_series_header`, and for a file that cannot be parsed.
    """
    read_series_header(path, roles)  # Checks the shape of the array.
    if path.suffix.lower() in _ARRAYS:
        return _of_array(path, roles, mapped=mapped)
    choice = _choice(path, roles)
    rows = _read_table(path, choice)
    time, notes = choice.label, list(rows.notes)
    if time is None and rows.names is not None and _are_dates(rows):
        # The index of a data frame.
        rows.label, time = rows.names, rows.id_column or ""
        notes.append(f"'{path.name}': the index of the data frame has dates, which are the times")
    recording = arrange(
        rows,
        time=time,
        ids=_joined_ids([rows.others[name] for name in roles.series]) if roles.series else None,
        series=roles.series or None,
        anomaly=None if roles.anomaly is None else _checked_flags(rows, rows.others[roles.anomaly], roles),
        options=roles.times,
    )
    recording.notes = [*notes, *recording.notes]
    recording.text = roles.text
    if not roles.series and time is not None and rows.columns is not None:
        starting_anew = recording

        def column(name: str) -> NDArray[Any]:
            columns = rows.columns or ()
            if name in columns:
                return rows.array[:, columns.index(name)]
            return read_rows(path, replace(choice, columns=columns[:1], others=(name,)), keep_bad=True).others[name]

        names = column_names(path, choice) or ()
        recording.find_series = lambda: find_series(starting_anew, names, column)
    return recording


def _of_array(path: Path, roles: ColumnRoles, *, mapped: bool) -> Recording:
    """Return the series in an array, with times, names of series and flags in further arrays of an NPZ file."""
    if array_header(path, roles.key) is not None:
        array = read_array(path, roles.key, mapped=mapped)
    else:
        array = SeriesArray(read_rows(path, Choice(roles.key, text=roles.text), mapped=mapped), None)
    for role, name in (("time", roles.time), ("anomaly", roles.anomaly), *(("series", name) for name in roles.series)):
        if name is None:
            continue
        if array.ids is not None or path.suffix.lower() != ".npz":
            raise AeframeError(
                f"'{path.name}' has {'several series in one array' if array.ids is not None else 'one array'} and no "
                f"'{name}' for {role}; write a table with a column for it"
            )
    rows = array.rows
    if roles.time is not None:
        rows.label = other_array(path, roles.time, len(rows))
    flags = None if roles.anomaly is None else _checked_flags(rows, other_array(path, roles.anomaly, len(rows)), roles)
    ids = array.ids
    if roles.series:
        ids = _joined_ids([other_array(path, name, len(rows)) for name in roles.series])
    series = roles.series or (None if ids is None else ("number",))
    recording = arrange(rows, time=roles.time, ids=ids, series=series, anomaly=flags, options=roles.times)
    recording.notes = [*array.notes, *recording.notes]
    return recording


def _checked_flags(rows: Rows, flags: NDArray[Any], roles: ColumnRoles) -> NDArray[np.bool_]:
    """Return anomaly flags, which are 0 and 1, as truth values."""
    valid = np.isin(flags, (0, 1))
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise AeframeError(
            f"{rows.where(row)}, column '{roles.anomaly}': '{flags[row]}' is not an anomaly flag, expected 0 or 1"
        )
    return flags.astype(bool)


def _joined_ids(columns: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the name of the series of each row: the cells of several columns, with a slash between them."""
    texts = [_id_texts(column) for column in columns]
    joined = texts[0]
    for column in texts[1:]:
        joined = np.char.add(np.char.add(joined, "/"), column)
    return joined


def _id_texts(column: NDArray[Any]) -> NDArray[np.str_]:
    """Return ids as text; numbers that are whole without a point, missing ones as empty text."""
    if column.dtype.kind == "f":
        whole = np.isfinite(column) & (column == np.floor(column))
        texts = np.where(np.isnan(column), "", column.astype(np.str_))
        texts[whole] = column[whole].astype(np.int64).astype(np.str_)
        return texts
    texts = np.char.strip(column.astype(np.str_))
    if column.dtype == object:
        texts[[value is None for value in column.tolist()]] = ""
    return texts


def _read_table(path: Path, choice: Choice) -> Rows:
    """Return the rows of a table; errors name the options of series."""
    try:
        return read_rows(path, choice, keep_bad=True)
    except AeframeError as error:
        text = str(error).replace(
            "use a column as data.label or data.id", "name the series with data.series or the time with data.time"
        )
        raise AeframeError(text) from None


def _are_dates(rows: Rows) -> bool:
    """Return whether the index of a data frame has dates or durations, not row numbers or words."""
    names = rows.names
    assert names is not None
    try:
        times = parse_times(replace(rows, label=names), np.zeros(1, np.int64), TimeOptions())
    except AeframeError:
        return False
    return times is not None and times.values.dtype.kind in "mM"


def _choice(path: Path, roles: ColumnRoles) -> Choice:
    """Return the columns to read, with the time column as the label (a column that is not part of x)."""
    others = (*roles.series, *([roles.anomaly] if roles.anomaly is not None else []))
    choice = Choice(roles.key, roles.time, roles.columns, roles.exclude, others=others, text=roles.text)
    names = column_names(path, choice)
    if names is None:
        return choice
    chosen = (*(("series", name) for name in roles.series), *(("exclude", name) for name in roles.exclude))
    for role, name in (("time", roles.time), ("anomaly", roles.anomaly), *chosen):
        if name is not None and name not in names:
            raise AeframeError(
                f"'{path.name}' has no column '{name}' for {role}{did_you_mean(name, names)}; "
                f"its columns are {', '.join(names)}"
            )
    if roles.time is not None:
        return choice
    return replace(choice, label=time_column(names, (*(roles.columns or ()), *roles.exclude, *others)))
