"""The dataset `series_file`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.data.tables import TextOptions
from aeframe_series.file import ColumnRoles, read_series, read_series_header
from aeframe_series.panels import check_no_ids
from aeframe_series.recording import Recording
from aeframe_series.splits import (
    SplitBy,
    describe_split,
    holds_out_whole,
    split_by_fractions,
    split_by_rows,
    split_whole,
)
from aeframe_series.times import TimeOptions


class SeriesFile(Dataset):
    """Series in a file: text such as CSV (also compressed), NPY, NPZ, Parquet or Feather, one row per time step.

    A file has one series, or several that the columns `series` tell apart. An NPY or NPZ array ``(T,)`` is a series of
    one column, ``(T, D)`` one of D columns, and ``(S, T, D)`` S series, in which NaN at the end is padding.

    Times are numbers, durations or dates of any usual format, which is found from the whole column. Rows must be in
    the order of their times; a series that is newest first is reversed, which is noted.

    Args:
        path: The file.
        columns: The columns of x by name; null selects all except `time`, `series`, `anomaly` and `exclude`.
        exclude: Columns that are not read, by name.
        header: Whether the first line of a text file names the columns. null takes a line without numbers as a header,
            and raises an error for a line of numbers that can be one, such as 2019, 2020, 2021.
        delimiter: What separates the cells of a text file: one character, ``tab`` or ``whitespace``.
        decimal: The decimal mark of a text file, ``.`` or ``,``.
        encoding: The encoding of a text file, such as ``cp1252``.
        missing: Marks for missing values, besides the usual ones such as ``NA`` and ``?``. A number, such as -999, is
            compared by its value.
        series: The column, or columns, that name the series of each row. No window has rows of two series, and the rows
            of each are sorted by time.
        time: The column of times; null selects a column named time, date, datetime, timestamp or ds, else year or
            quarter, else an index of dates without a name. In an NPZ file it is the name of an array.
        time_format: The format of the times, such as ``%d/%m/%Y %H:%M``; null finds it.
        day_first: Whether 01/02/2021 is the first of February; null finds it from all times, and raises an error if
            both are possible.
        sort: Whether rows are sorted by time; null sorts only the rows of named series.
        anomaly: A column (in an NPZ file an array) of 0 and 1 that labels known anomalies, for evaluation.
        key: The array of an NPZ file.
        split_by: ``time`` holds out the last rows of each series, ``series`` holds out whole series, drawn at random;
            null holds out whole ones if there are at least 10.
        validation: Fraction of the rows of each series, or of the series if whole ones are held out, for validation.
        test: Fraction for testing; the last rows of each series.
        split_seed: Seed of the draw of whole series.
        bounds: Four row numbers of one series instead of fractions, counted from 0: the start of training, and the
            exclusive ends of training, validation and test.
        context: Number of rows before the validation and the test split that are also added to them, as in forecasting
            benchmarks. With 0 no row belongs to two splits.
    """

    modality = "series"

    def __init__(
        self,
        *,
        path: Path,
        columns: tuple[str, ...] | None = None,
        series: str | tuple[str, ...] | None = None,
        time: str | None = None,
        time_format: str | None = None,
        day_first: bool | None = None,
        sort: bool | None = None,
        anomaly: str | None = None,
        key: str | None = None,
        exclude: tuple[str, ...] = (),
        header: bool | None = None,
        delimiter: str | None = None,
        decimal: Literal[".", ","] | None = None,
        encoding: str | None = None,
        missing: tuple[str | float, ...] = (),
        split_by: SplitBy | None = None,
        validation: float = 0.2,
        test: float = 0.2,
        split_seed: int = 0,
        bounds: tuple[int, int, int, int] | None = None,
        context: int = 0,
    ) -> None:
        self.path = Path(path).expanduser()
        names = (series,) if isinstance(series, str) else tuple(series or ())
        times = TimeOptions(time_format, day_first, sort)
        text = TextOptions(header, delimiter, decimal, encoding, missing)
        self.roles = ColumnRoles(columns, time, anomaly, key, exclude, text, names, times)
        self.fractions = {"validation": validation, "test": test}
        self.split_by, self.split_seed = split_by, split_seed
        self.bounds, self.context = bounds, context

    def describe(self) -> Mapping[str, Any]:
        header = read_series_header(self.path, self.roles)
        return {"num_columns": header.shape[0], "anomaly": self.roles.anomaly is not None}

    def load(self) -> Recording:
        recording = read_series(self.path, self.roles, mapped=True)
        if not self.roles.series and recording.names is None:
            chosen = self.roles.columns is not None
            recording.notes.extend(check_no_ids(recording.rows, chosen=chosen, has_times=recording.times is not None))
        # `split_record`, inherited from `Dataset`, stores the split, so that later runs use the same.
        record, num_series = self.split_record, len(recording.starts)
        whole = self.bounds is None and holds_out_whole(self.split_by, num_series)
        if whole:
            split = RandomSplit(self.path.name, "series", seed=self.split_seed, **self.fractions)
            recording.splits = split_whole(recording, split, record=record)
        elif self.bounds is None:
            recording.splits = split_by_fractions(recording, **self.fractions, context=self.context, record=record)
        else:
            recording.splits = split_by_rows(recording, self.bounds, context=self.context, record=record)
        if num_series > 1:
            recording.notes.append(describe_split(self.path.name, whole=whole))
        return recording
