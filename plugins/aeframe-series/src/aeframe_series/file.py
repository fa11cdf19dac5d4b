"""Read a series from a file, and the dataset `series_file`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aeframe.data import Dataset
from aeframe.data.tables import Choice, Header, TextOptions, read_header, read_rows
from aeframe.errors import AeframeError, did_you_mean
from aeframe_series.recording import Recording
from aeframe_series.splits import split_by_fractions, split_by_rows
from aeframe_series.times import is_time_column


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """The columns of a file (the arrays of an NPZ file) that hold x, the times and the anomaly flags."""

    columns: tuple[str, ...] | None = None
    """Columns of x by name; None selects all columns without another role."""
    time: str | None = None
    """The time column; None selects one by its name, see `aeframe_series.times.TIME_NAMES`."""
    anomaly: str | None = None
    """The column of anomaly flags."""
    key: str | None = None
    """The array of x in an NPZ file."""
    exclude: tuple[str, ...] = ()
    """Columns that are not read."""
    header: bool | None = None
    """Whether the first line of a text file names the columns; None decides by the first lines."""


def read_series_header(path: Path, roles: ColumnRoles) -> Header:
    """Return the number and the names of the columns of x, without reading the whole file.

    Raises:
        AeframeError: An array that is not two-dimensional, or a column that does not exist.
    """
    header = read_header(path, _choice(path, roles))
    if len(header.shape) != 1:
        raise AeframeError(f"'{path.name}' has rows of shape {header.shape}, expected an array (time steps, columns)")
    return header


def read_series(path: Path, roles: ColumnRoles) -> Recording:
    """Read the columns of x, the times and the anomaly flags of a file.

    Raises:
        AeframeError: As `read_series_header`, and for a cell that cannot be parsed.
    """
    read_series_header(path, roles)  # Checks the shape of the array.
    choice = _choice(path, roles)
    rows = read_rows(path, choice)
    if roles.anomaly is None:
        return Recording(rows, time=choice.label)
    # `read_rows` returns one label column per call, so that the flags require a second call.
    flags = read_rows(path, replace(choice, key=roles.key, label=roles.anomaly)).label
    assert flags is not None
    valid = np.isin(flags, (0, 1))
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise AeframeError(
            f"{rows.where(row)}, column '{roles.anomaly}': '{flags[row]}' is not an anomaly flag, expected 0 or 1"
        )
    return Recording(rows, time=choice.label, anomaly=flags.astype(bool))


def _choice(path: Path, roles: ColumnRoles) -> Choice:
    """Return the columns to read, with the time column as the label (a column that is not part of x)."""
    names = read_header(path, Choice(roles.key, text=TextOptions(roles.header))).columns
    if names is None:
        return Choice(roles.key, roles.time, roles.columns, roles.exclude, text=TextOptions(roles.header))
    excluded = (("exclude", name) for name in roles.exclude)
    for role, name in (("time", roles.time), ("anomaly", roles.anomaly), *excluded):
        if name is not None and name not in names:
            raise AeframeError(
                f"'{path.name}' has no column '{name}' for {role}{did_you_mean(name, names)}; "
                f"its columns are {', '.join(names)}"
            )
    chosen = roles.columns or ()
    time = roles.time or next((name for name in names if is_time_column(name) and name not in chosen), None)
    left_out = {time, roles.anomaly, *roles.exclude}
    columns = roles.columns or tuple(name for name in names if name not in left_out)
    return Choice(label=time, columns=columns, text=TextOptions(roles.header))


class SeriesFile(Dataset):
    """A series in a file: CSV (also ``.csv.gz``), TSV, NPY, NPZ or Parquet, one row per time step.

    The series is split in temporal order.

    Args:
        path: The file.
        columns: The columns of x by name; null selects all except `time`, `anomaly` and `exclude`.
        exclude: Columns that are not read, by name.
        header: Whether the first line of a text file names the columns. null takes a line without numbers as a header,
            and raises an error for a line of numbers that can be one, such as 2019, 2020, 2021.
        time: The column of strictly increasing times, numbers or ISO dates; null selects a column named time, date,
            datetime or timestamp if there is one. In an NPZ file it is the name of an array.
        anomaly: A column (in an NPZ file an array) of 0 and 1 that labels known anomalies, for evaluation.
        key: The array of an NPZ file.
        validation: Fraction of the rows for validation, after the training rows.
        test: Fraction of the rows for testing, at the end.
        bounds: Four row numbers instead of fractions, counted from 0: the start of training, and the exclusive ends
            of training, validation and test.
        context: Number of rows before the validation and the test split that are also added to them, as in forecasting
            benchmarks. With 0 no row belongs to two splits.
    """

    modality = "series"

    def __init__(
        self,
        *,
        path: Path,
        columns: tuple[str, ...] | None = None,
        time: str | None = None,
        anomaly: str | None = None,
        key: str | None = None,
        exclude: tuple[str, ...] = (),
        header: bool | None = None,
        validation: float = 0.2,
        test: float = 0.2,
        bounds: tuple[int, int, int, int] | None = None,
        context: int = 0,
    ) -> None:
        self.path = Path(path).expanduser()
        self.roles = ColumnRoles(columns, time, anomaly, key, exclude, header)
        self.fractions = {"validation": validation, "test": test}
        self.bounds, self.context = bounds, context

    def describe(self) -> Mapping[str, Any]:
        header = read_series_header(self.path, self.roles)
        return {"num_columns": header.shape[0], "anomaly": self.roles.anomaly is not None}

    def load(self) -> Recording:
        recording = read_series(self.path, self.roles)
        # `split_record`, inherited from `Dataset`, stores the split, so that later runs use the same.
        rows, record = recording.rows, self.split_record
        if self.bounds is None:
            recording.splits = split_by_fractions(rows, **self.fractions, context=self.context, record=record)
        else:
            recording.splits = split_by_rows(rows, self.bounds, context=self.context, record=record)
        return recording
