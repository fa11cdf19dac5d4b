"""Read series from a file: `read_series`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import Choice, Header, Rows, read_header, read_rows
from aeframe.errors import AeframeError, did_you_mean
from aeframe_series.arrange import arrange
from aeframe_series.array_file import SeriesArray, array_header, other_array, read_array
from aeframe_series.panels import find_series
from aeframe_series.recording import Recording
from aeframe_series.times import INDEX_NAMES, TimeOptions, time_column

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
    header: bool | None = None
    """Whether the first line of a text file names the columns; None decides by the first lines."""
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

    With `mapped` the values of an NPY file are a memory map.

    Raises:
        AeframeError: As `read_series_header`, and for a cell that cannot be parsed.
    """
    read_series_header(path, roles)  # Checks the shape of the array.
    if path.suffix.lower() in _ARRAYS:
        return _of_array(path, roles, mapped=mapped)
    choice = _choice(path, roles)
    rows = read_rows(path, choice, mapped=mapped)
    time = choice.label
    if time in INDEX_NAMES and not _has_dates(rows.label):
        rows.label, time = None, None
    ids = [_other_column(path, choice, roles, name) for name in roles.series]
    recording = arrange(
        rows,
        time=time,
        ids=_joined_ids(ids) if ids else None,
        series=roles.series or None,
        anomaly=None if roles.anomaly is None else _flags(path, choice, roles, rows),
        options=roles.times,
    )
    if not roles.series and time is not None and rows.columns is not None:
        starting_anew = recording
        recording.find_series = lambda: find_series(
            starting_anew, all_names(path, roles) or (), lambda name: _other_column(path, choice, roles, name)
        )
    return recording


def _of_array(path: Path, roles: ColumnRoles, *, mapped: bool) -> Recording:
    """Return the series in an array, with times, names of series and flags in further arrays of an NPZ file."""
    if array_header(path, roles.key) is not None:
        array = read_array(path, roles.key, mapped=mapped)
    else:
        array = SeriesArray(read_rows(path, replace(_choice(path, roles), label=None), mapped=mapped), None)
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


def _flags(path: Path, choice: Choice, roles: ColumnRoles, rows: Rows) -> NDArray[np.bool_]:
    assert roles.anomaly is not None
    return _checked_flags(rows, _other_column(path, choice, roles, roles.anomaly), roles)


def _checked_flags(rows: Rows, flags: NDArray[Any], roles: ColumnRoles) -> NDArray[np.bool_]:
    """Return anomaly flags, which are 0 and 1, as truth values."""
    valid = np.isin(flags, (0, 1))
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise AeframeError(
            f"{rows.where(row)}, column '{roles.anomaly}': '{flags[row]}' is not an anomaly flag, expected 0 or 1"
        )
    return flags.astype(bool)


def _other_column(path: Path, choice: Choice, roles: ColumnRoles, name: str) -> NDArray[Any]:
    """Return a column that is not part of x. `read_rows` returns one such column per call."""
    columns = None if choice.columns is None else tuple(column for column in choice.columns if column != name)[:1]
    label = read_rows(path, replace(choice, key=roles.key, label=name, columns=columns)).label
    assert label is not None
    return label


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
    return np.char.strip(column.astype(np.str_))


def _has_dates(label: NDArray[Any] | None) -> bool:
    """Return whether the index of a data frame has dates or durations, not row numbers or words."""
    return label is not None and label.dtype.kind not in "biuf"


def all_names(path: Path, roles: ColumnRoles) -> tuple[str, ...] | None:
    """Return the names of all columns of a table, also those of an index of pandas; None for a file without names."""
    if path.suffix.lower() in _ARRAYS:
        return None
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        return tuple(pq.read_schema(path).names)
    is_indexed = _has_column(path, "", roles)
    choice = Choice(roles.key, exclude=("",) if is_indexed else (), header=roles.header)
    names = read_header(path, choice).columns
    return ("", *names) if is_indexed and names is not None else names


def _has_column(path: Path, name: str, roles: ColumnRoles) -> bool:
    try:
        read_header(path, Choice(label=name, header=roles.header))
    except AeframeError:
        return False
    return True


def _choice(path: Path, roles: ColumnRoles) -> Choice:
    """Return the columns to read, with the time column as the label (a column that is not part of x)."""
    names = all_names(path, roles)
    if names is None:
        return Choice(roles.key, roles.time, roles.columns, roles.exclude, roles.header)
    others = (*(("series", name) for name in roles.series), *(("exclude", name) for name in roles.exclude))
    for role, name in (("time", roles.time), ("anomaly", roles.anomaly), *others):
        if name is not None and name not in names:
            raise AeframeError(
                f"'{path.name}' has no column '{name}' for {role}{did_you_mean(name, names)}; "
                f"its columns are {', '.join(names)}"
            )
    taken = (*(roles.columns or ()), *roles.exclude, *roles.series, *([roles.anomaly] if roles.anomaly else ()))
    time = roles.time if roles.time is not None else time_column(names, taken)
    left_out = {time, roles.anomaly, *roles.series, *roles.exclude, *INDEX_NAMES}
    columns = roles.columns or tuple(name for name in names if name not in left_out)
    return Choice(label=time, columns=columns, header=roles.header)
