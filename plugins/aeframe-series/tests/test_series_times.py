"""Formats of times, the step between them, gaps, and series that are newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from series_files import dataset, values

from aeframe import AeframeError
from aeframe.data.tables import Rows
from aeframe_series.modality import Series
from aeframe_series.steps import step_of
from aeframe_series.times import TimeOptions, Times, parse_times, time_column


def parsed(cells: Any, **options: Any) -> Times:
    label = np.array(cells)
    times = parse_times(Rows(np.zeros((len(label), 1)), "a.csv", label=label), np.zeros(1, int), TimeOptions(**options))
    assert times is not None
    return times


DAYS = pd.date_range("2021-01-01", periods=40)


@pytest.mark.parametrize(
    ("cells", "form", "first", "second"),
    [
        (DAYS.strftime("%d/%m/%Y"), "%d/%m/%Y", "2021-01-01", "2021-01-02"),
        (DAYS.strftime("%m/%d/%Y"), "%m/%d/%Y", "2021-01-01", "2021-01-02"),
        (DAYS.strftime("%d.%m.%y %H:%M"), "%d.%m.%y %H:%M", "2021-01-01", "2021-01-02"),
        # Two days: only as day before month are the steps equal.
        (pd.date_range("2021-01-01", periods=48, freq="h").strftime("%d/%m/%Y %H:%M"), "%d/%m/%Y %H:%M",
         "2021-01-01", "2021-01-01T01"),
        (["01.02.2021", "01.03.2021"], "%d.%m.%Y", "2021-02-01", "2021-03-01"),
        (["1/2/2021 1:00:00 AM", "1/13/2021 1:00:00 PM"], "%m/%d/%Y %I:%M:%S %p", "2021-01-02T01", "2021-01-13T13"),
        (["Mar 3, 2021 4:05 PM", "Mar 4, 2021 4:05 PM"], "%b %d, %Y %I:%M %p", "2021-03-03T16:05", "2021-03-04T16:05"),
        (["1749-01", "1749-02"], "ISO 8601", "1749-01-01", "1749-02-01"),
        (["1549-01-01", "1549-01-02"], "ISO 8601", "1549-01-01", "1549-01-02"),
        (["2021-01-01 00:00 UTC", "2021-01-01 01:00 UTC"], "ISO 8601", "2021-01-01", "2021-01-01T01"),
        ([19580329.0, 19580405.0], "%Y%m%d", "1958-03-29", "1958-04-05"),
        ([195812, 195901], "%Y%m", "1958-12-01", "1959-01-01"),
        (["2000Q1", "2000Q2"], "quarters", "2000-01-01", "2000-04-01"),
        (["Q1 2000", "Q4 2000"], "quarters", "2000-01-01", "2000-10-01"),
        (["2020-W05", "2020-W06"], "weeks", "2020-01-27", "2020-02-03"),
        ([1609459200, 1609462800], "seconds since 1970", "2021-01-01", "2021-01-01T01"),
        ([1609459200000, 1609462800000], "milliseconds since 1970", "2021-01-01", "2021-01-01T01"),
    ],
)  # fmt: skip
def test_dates_of_every_usual_format(cells: Any, form: str, first: str, second: str) -> None:
    times = parsed(list(cells))
    assert times.form == form
    assert times.are_dates
    assert (times.values[:2] == np.array([first, second], "datetime64[ns]")).all() or first.startswith("1549")
    assert not times.unreadable.any()


@pytest.mark.parametrize(
    "cells", [["01:30", "02:00"], ["01:30:00", "02:00:00"], ["0 days 01:30:00", "0 days 02:00:00"]]
)
def test_durations(cells: list[str]) -> None:
    assert (parsed(cells).values / np.timedelta64(1, "m")).tolist() == [90, 120]


def test_numbers_that_are_no_dates() -> None:
    for numbers in ([195803, 195804, 195805], [1700, 1701], [20001301.0, 20001302.0], [0.5, 1.5]):
        times = parsed(numbers)
        assert times.form == "numbers"
        assert times.values.tolist() == numbers
    assert np.isnan(parsed(["1", "", "4"]).values).tolist() == [False, True, False]


def test_day_and_month_that_cannot_be_told_apart() -> None:
    cells = [f"01/{month:02d}/2021" for month in range(1, 13)]
    with pytest.raises(AeframeError) as error:
        parsed(cells)
    assert str(error.value) == (
        "a.csv: day and month cannot be told apart in the dates ('01/01/2021' fits %d/%m/%Y and %m/%d/%Y); set "
        "data.day_first to true or false, or data.time_format=%d/%m/%Y"
    )
    assert parsed(cells, day_first=True).values[1] == np.datetime64("2021-02-01")
    assert parsed(cells, day_first=False).values[1] == np.datetime64("2021-01-02")
    assert parsed(cells, time_format="%d/%m/%Y").values[1] == np.datetime64("2021-02-01")
    # Cells of both orders are never mixed.
    with pytest.raises(AeframeError):
        parsed(["13/01/2021", "02/13/2021"])


def test_the_time_column_is_found_by_its_name() -> None:
    assert time_column(("a", "Date/Time"), ()) == "Date/Time"
    assert time_column(("YEAR", "a", "ds"), ()) == "ds"
    assert time_column(("YEAR", "a"), ()) == "YEAR"
    assert time_column(("YEAR", "a"), ("YEAR",)) is None


@pytest.mark.parametrize(
    ("dates", "step", "num_gaps"),
    [
        (pd.date_range("2000-01-01", periods=30, freq="MS"), "1 month", 0),
        (pd.date_range("2000-01-31", periods=30, freq="ME"), "1 month", 0),
        (pd.date_range("2000-01-01", periods=30, freq="QS"), "3 months", 0),
        (pd.date_range("2000-01-01", periods=30, freq="YS"), "1 year", 0),
        (pd.bdate_range("2021-01-01", periods=30), "1 working day", 0),
        (pd.date_range("2000-01-01", periods=30, freq="D").delete([4, 5]), "1 day", 1),
        (pd.date_range("2000-01-01", periods=30, freq="15min").delete(9), "15 min", 1),
        (pd.date_range("2000-01-01", periods=30, freq="MS").delete(7), "1 month", 1),
    ],
)
def test_gaps_are_those_of_the_calendar(dates: pd.DatetimeIndex, step: str, num_gaps: int) -> None:
    is_first = np.arange(len(dates)) == 0
    found = step_of(parsed(dates.to_numpy()), is_first)
    assert (found.text, found.num_gaps) == (step, num_gaps)


def table(folder: Path, **columns: Any) -> Path:
    path = folder / "a.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_weeks_across_the_end_of_a_month_are_no_gap(tmp_path: Path) -> None:
    weeks = pd.date_range("2000-01-01", periods=60, freq="W").strftime("%Y%m%d")
    splits = Series(window=8, cut_gaps=True).prepare(dataset(table(tmp_path, date=weeks, x=np.arange(60) % 7)))
    assert len(splits.train) == 36 - 7
    assert list(splits.notes) == [
        "'a.csv': the times are column 'date' (%Y%m%d), from 2000-01-02 to 2001-02-18, step 7 days, 0 gaps"
    ]


def test_newest_first_is_reversed_and_noted(tmp_path: Path) -> None:
    x = np.arange(60.0) % 11
    path = table(tmp_path, time=DAYS[:0].append(pd.date_range("2021-01-01", periods=60))[::-1].astype(str), x=x[::-1])
    modality = Series(window=8, scale="none")
    splits = modality.prepare(dataset(path))
    assert splits.train.batch(np_index(0)).x[0, 0].tolist() == x[:8].tolist()
    assert splits.train.batch(np_index(0)).index.tolist() == [59]
    assert (
        next(iter(splits.notes)) == "'a.csv': its rows are in descending order of time, newest first; they are reversed"
    )
    # Written in the order of the file.
    opened = modality.open(path, "raise")
    (out,) = modality.write(
        opened.batch().x, tmp_path / "b.csv", names=opened.source.columns(np_index(*range(8)))["name"]
    )
    assert pd.read_csv(out).equals(pd.read_csv(path))


def np_index(*numbers: int) -> Any:
    import torch

    return torch.tensor(numbers)


@pytest.mark.parametrize("form", ["csv", "parquet", "named parquet"])
def test_an_index_of_dates_is_the_time(tmp_path: Path, form: str) -> None:
    frame = pd.DataFrame(values(), columns=["a", "b", "c"], index=pd.date_range("2020-01-01", periods=100))
    path = tmp_path / ("a.csv" if form == "csv" else "a.parquet")
    if form == "csv":
        frame.to_csv(path)
    else:
        frame.rename_axis("when" if form == "named parquet" else None).to_parquet(path)
    recording = dataset(path).load()
    assert recording.rows.columns == ("a", "b", "c")
    assert recording.times is not None
    assert recording.times.values[1] == np.datetime64("2020-01-02")
    modality = Series(window=8)
    modality.prepare(dataset(path))
    assert str(modality.open(path, "raise").source.columns(np_index(1))["time"][0]).startswith("2020-01-09")


def test_durations_in_parquet_are_times(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"time": pd.to_timedelta(np.arange(60), "h"), "x": np.arange(60.0) % 5}).to_parquet(path)
    splits = Series(window=8).prepare(dataset(path))
    assert "(durations), from 0 s to 212400 s, step 1 h, 0 gaps" in next(iter(splits.notes))


def test_rows_out_of_order_that_are_sorted(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(60)
    path = table(tmp_path, time=order, x=order % 7)
    with pytest.raises(AeframeError, match=r"sort the rows by time with data.sort=true"):
        Series(window=8, on_error="skip").prepare(dataset(path))
    splits = Series(window=8, scale="none").prepare(dataset(path, sort=True))
    assert splits.train.batch(np_index(0)).x[0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    assert "'a.csv': its rows are not in order of time; they are sorted" in list(splits.notes)
