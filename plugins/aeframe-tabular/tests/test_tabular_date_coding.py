"""The coding of dates: units to which they are rounded, parts, spikes and missing cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from aeframe_tabular.coding import CodingOptions
from aeframe_tabular.coding.dates import DateCoding, varying_parts
from aeframe_tabular.column import Column

DAY = 86400.0


def dates(*texts: str | None) -> pd.Series[Any]:
    return pd.Series(np.array(texts, dtype="datetime64[us]"), name="when")


def date_coding(values: pd.Series[Any], parts: bool = False, **column: Any) -> DateCoding:
    coding = DateCoding(Column("when", "date", **column), 0, CodingOptions(numbers="standard", date_parts=parts))
    coding.learn(values)
    return coding


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        (["2001-01-01", "2003-01-01", "2006-01-01"], "year", "2003-01-01"),
        (["2020-01-01", "2020-02-01", "2020-12-01"], "month", "2020-05-01"),
        (["2020-01-01", "2020-01-02", "2020-01-06"], "day", "2020-01-03"),
        (["2020-01-01T00", "2020-01-01T01", "2020-01-01T06"], "hour", "2020-01-01T02"),
        (["2020-01-01T00:00", "2020-01-01T00:01", "2020-01-01T00:06"], "minute", "2020-01-01T00:02"),
        (["2020-01-01T00:00:00", "2020-01-01T00:00:01", "2020-01-01T00:00:06"], "second", "2020-01-01T00:00:02"),
        (["2020-01-01T00:00:00", "2020-01-01T00:00:00.001"], "millisecond", "2020-01-01T00:00:00"),
        (["2020-01-01T00:00:00", "2020-01-01T00:00:00.000003"], "microsecond", "2020-01-01T00:00:00.000002"),
    ],
)
def test_dates_are_rounded_to_the_unit_of_the_training_split(values: list[str], unit: str, expected: str) -> None:
    coding = date_coding(dates(*values))
    assert coding.state()["unit"] == unit
    # An element of 0 is the mean; that of the dates of two is halfway.
    x = np.zeros((1, 1), np.float32)
    pd.testing.assert_series_equal(coding.decode(x), dates(expected))
    pd.testing.assert_series_equal(coding.decode(coding.encode(dates(*values))[0]), dates(*values))


def test_ten_years_of_seconds_are_exact_up_to_float32() -> None:
    seconds = np.random.default_rng(0).integers(0, 315_000_000, 1000)
    values = pd.Series(pd.to_datetime(seconds, unit="s").astype("datetime64[us]"))
    coding = date_coding(values)
    difference = (coding.decode(coding.encode(values)[0]) - values).dt.total_seconds().abs()
    # A unit in the last place of the largest element, 1.7, in seconds.
    assert difference.max() <= 2.0**-23 * seconds.std()
    assert (difference % 1 == 0).all()


def test_dates_before_1970_and_missing_ones() -> None:
    values = dates("1850-05-17", None, "1969-12-31", "2150-01-01")
    coding = date_coding(values, num_missing=1)
    x, mask = coding.encode(values)
    assert mask[:, 0].tolist() == [True, False, True, True]
    assert x[:, 1].tolist() == [0, 1, 0, 0]
    pd.testing.assert_series_equal(coding.decode(x), values)


def test_a_date_that_many_rows_have() -> None:
    values = dates("9999-12-31", "2020-01-01", "9999-12-31", "2020-01-03")
    spike = (np.datetime64("9999-12-31") - np.datetime64("1970-01-01")) / np.timedelta64(1, "s")
    coding = date_coding(values, spike=float(spike))
    x, _ = coding.encode(values)
    assert x[:, 1].tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(x[[1, 3], 0], [-1, 1], rtol=1e-6)
    pd.testing.assert_series_equal(coding.decode(x), values)


def test_dates_are_within_the_range_of_the_column() -> None:
    values = dates("1970-01-01", "1970-01-11")
    coding = date_coding(values, low=0.0, high=10 * DAY)
    decoded = coding.decode(np.array([[-50], [50]], np.float32))
    pd.testing.assert_series_equal(decoded, values)
    far = date_coding(values).decode(np.array([[-1e18], [1e18]], np.float32))
    assert far.notna().all()


def test_parts_by_hand() -> None:
    values = dates("2024-02-29T13:59:59", None, "1969-12-31T23:00:00", "2026-11-30T00:00:00")
    low, high = -3600.0, 1.8e9
    coding = date_coding(values, parts=True, low=low, high=high, num_missing=1)
    names = ["when", "when (missing)", "when (month)", "when (weekday)", "when (hour)"]
    assert [element.name for element in coding.elements] == names
    assert [element.classes for element in coding.elements] == [0, 2, 12, 7, 24]
    x, mask = coding.encode(values)
    # A Thursday, no date, a Wednesday and a Monday.
    np.testing.assert_array_equal(x[:, 2:], [[1, 3, 13], [0, 0, 0], [11, 2, 23], [10, 0, 0]])
    np.testing.assert_array_equal(mask[1], [False, True, False, False, False])
    assert mask[[0, 2, 3]].all()
    # The number alone decides.
    other = x.copy()
    other[:, 2:] = 5
    pd.testing.assert_series_equal(coding.decode(other), coding.decode(x))


def test_parts_agree_with_pandas() -> None:
    seconds = np.random.default_rng(0).integers(-3_000_000_000, 3_000_000_000, 2000)
    values = pd.Series(pd.to_datetime(seconds, unit="s").astype("datetime64[us]"))
    x, _ = date_coding(values, parts=True).encode(values)
    expected = np.stack([values.dt.month - 1, values.dt.weekday, values.dt.hour], axis=1)
    np.testing.assert_array_equal(x[:, 1:], expected)


@pytest.mark.parametrize(
    ("low", "high", "date_format", "parts"),
    [
        (None, None, None, ("month", "weekday", "hour")),
        (0.0, 300 * DAY, None, ("month", "weekday")),
        (0.0, 300 * DAY + 5, None, ("month", "weekday", "hour")),
        (0.0, 300 * DAY, "%Y-%m-%d %H:%M", ("month", "weekday", "hour")),
        (0.0, 300 * DAY, "%d.%m.%Y", ("month", "weekday")),
        (0.0, 9 * DAY, None, ("weekday",)),
        (30.0, 7200.0, None, ("hour",)),
        (30.0, 60.0, None, ()),
    ],
)
def test_parts_that_do_not_vary_are_left_out(
    low: float | None, high: float | None, date_format: str | None, parts: tuple[str, ...]
) -> None:
    assert varying_parts(Column("when", "date", low=low, high=high, date_format=date_format)) == parts
