"""Series in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aeframe.data import Dataset
from aeframe.data.tables import Choice, Header, read_header, read_rows
from aeframe.errors import AeframeError, did_you_mean
from aeframe_series.recording import Recording, by_bounds, by_fractions
from aeframe_series.times import likely


@dataclass(frozen=True, slots=True)
class Roles:
    """Which of a file's columns (in NPZ, arrays) are what."""

    columns: tuple[str, ...] | None = None
    """Those of x by name; all but the others where None."""
    time: str | None = None
    """The times; None takes one that is called so."""
    anomaly: str | None = None
    """Flags."""
    key: str | None = None
    """The array of x in an NPZ file."""


def header(path: Path, roles: Roles) -> Header:
    """Return how many columns x has, and their names, without reading the file to its end."""
    found = read_header(path, _choice(path, roles))
    if len(found.shape) != 1:
        raise AeframeError(f"'{path.name}' has rows of shape {found.shape}, expected an array (moments, columns)")
    return found


def read(path: Path, roles: Roles) -> Recording:
    """Read a series: all of its columns of x, its times and its flags."""
    header(path, roles)
    choice = _choice(path, roles)
    rows = read_rows(path, choice)
    if roles.anomaly is None:
        return Recording(rows, choice.label)
    # A file is read by one label at a time.
    flags = read_rows(path, Choice(roles.key, roles.anomaly, choice.columns)).label
    assert flags is not None
    ordinary = np.isin(flags, (0, 1))
    if not ordinary.all():
        row = int(np.flatnonzero(~ordinary)[0])
        raise AeframeError(f"{rows.where(row)}, column '{roles.anomaly}': '{flags[row]}' is no flag, expected 0 or 1")
    return Recording(rows, choice.label, anomaly=flags.astype(bool))


def _choice(path: Path, roles: Roles) -> Choice:
    """Return what to ask the file for; its label is the column of times."""
    names = read_header(path, Choice(roles.key)).columns
    if names is None:
        return Choice(roles.key, roles.time, roles.columns)
    for role, name in (("time", roles.time), ("anomaly", roles.anomaly)):
        if name is not None and name not in names:
            raise AeframeError(
                f"'{path.name}' has no column '{name}' for {role}{did_you_mean(name, names)}; "
                f"its columns are {', '.join(names)}"
            )
    chosen = roles.columns or ()
    time = roles.time or next((name for name in names if likely(name) and name not in chosen), None)
    columns = roles.columns or tuple(name for name in names if name not in (time, roles.anomaly))
    return Choice(None, time, columns)


class SeriesFile(Dataset):
    """A series in a file of your own: CSV (also ``.csv.gz``), TSV, NPY, NPZ or Parquet, one row for each moment.

    It is split in the order of time, and no window lies in two splits.

    Args:
        path: The file.
        columns: The columns of x by name; all but `time` and `anomaly` where null.
        time: The column of times, numbers or ISO dates, which must rise; null takes a column called time, date,
            datetime or timestamp, if there is one. In NPZ the name of an array.
        anomaly: A column of 0 and 1 (in NPZ an array): moments that are known not to be ordinary, to measure by.
        key: The array of an NPZ file.
        validation: Fraction of the rows for validation, after those for training.
        test: Fraction of the rows for testing, the last ones.
        bounds: In place of fractions, four row numbers from 0: where training begins and ends, where validation ends,
            where testing ends.
        context: Rows before the validation and test splits that their first windows may reach back to, as forecasting
            benchmarks have it; 0 keeps the splits apart.
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
        validation: float = 0.2,
        test: float = 0.2,
        bounds: tuple[int, int, int, int] | None = None,
        context: int = 0,
    ) -> None:
        self.path = Path(path).expanduser()
        self.roles = Roles(columns, time, anomaly, key)
        self.fractions = {"validation": validation, "test": test}
        self.bounds, self.context = bounds, context

    def describe(self) -> Mapping[str, Any]:
        return {"num_columns": header(self.path, self.roles).shape[0], "anomaly": self.roles.anomaly is not None}

    def load(self) -> Recording:
        recording = read(self.path, self.roles)
        if self.bounds is None:
            recording.splits = by_fractions(
                recording.rows, **self.fractions, context=self.context, record=self.split_record
            )
        else:
            recording.splits = by_bounds(recording.rows, self.bounds, context=self.context, record=self.split_record)
        return recording
