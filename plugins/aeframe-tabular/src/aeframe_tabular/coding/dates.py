"""`DateCoding`: the seconds since 1970 of a date, and its month, weekday and hour on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.errors import AeframeError
from aeframe_tabular.coding.column_coding import Element
from aeframe_tabular.coding.numbers import NumberCoding
from aeframe_tabular.coding.options import CodingOptions
from aeframe_tabular.coding.scales import Floats
from aeframe_tabular.column import Column

_SECONDS = {"day": 86400.0, "hour": 3600.0, "minute": 60.0, "second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6}
_CALENDAR = {"year": "datetime64[Y]", "month": "datetime64[M]"}
_YEAR = 365.2425 * 86400.0
"""Seconds of a year, on average."""
_FARTHEST = 9e12
"""Seconds before and after 1970 that datetime64[us] can represent."""
_PARTS = {"month": 12, "weekday": 7, "hour": 24}
_TIME_CODES = ("%H", "%I", "%c", "%X", "%T", "%R", "%s")


class DateCoding(NumberCoding):
    """The coding of a date: a number, the seconds since 1970, coded as any other number.

    float32 has about 7 digits: a column that spans 10 years has a precision of some seconds. `learn` therefore finds
    the coarsest unit from year to microsecond of which all dates of the training split are whole multiples, and
    `decode` rounds to it: days are decoded to days.

    With `CodingOptions.date_parts`, month (0..11), weekday (0..6, Monday is 0) and hour (0..23) are further elements,
    if they vary in the column. They are input of the encoder and targets of the decoder; `decode` uses the number
    alone, since a date that is assembled from several elements may not exist.
    """

    def __init__(self, column: Column, index: int, options: CodingOptions) -> None:
        super().__init__(column, index, options)
        self._unit = "microsecond"
        self._parts = varying_parts(column) if options.date_parts else ()
        self.elements += tuple(Element(f"{column.name} ({part})", _PARTS[part], index) for part in self._parts)

    @property
    def width(self) -> float:
        if self._unit in _CALENDAR:
            return _YEAR if self._unit == "year" else _YEAR / 12
        # Shorter units are not rounded to.
        seconds = _SECONDS[self._unit]
        return seconds if seconds >= 1 else 0.0

    @property
    def is_grid(self) -> bool:
        return self.width > 0 and self._unit not in _CALENDAR

    def state(self) -> dict[str, Any]:
        return super().state() | {"unit": self._unit}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self._unit = str(state["unit"])

    def _learn_numbers(self, numbers: Floats) -> None:
        self._unit = _coarsest_unit(numbers)
        super()._learn_numbers(numbers)

    def _encode_numbers(self, numbers: Floats) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        x, mask = super()._encode_numbers(numbers)
        known = mask[:, 0]
        for index, part in enumerate(self._parts, start=len(self.elements) - len(self._parts)):
            x[:, index] = np.where(known, _part(np.where(known, numbers, 0.0), part), 0)
            mask[:, index] = known
        return x, mask

    def _rounded(self, numbers: Floats) -> Floats:
        numbers = np.clip(numbers, -_FARTHEST, _FARTHEST)
        if self._unit not in _CALENDAR:
            seconds = _SECONDS[self._unit]
            return np.round(numbers / seconds) * seconds if seconds >= 1 else numbers
        unit = _CALENDAR[self._unit]
        start = _to_dates(numbers).astype(unit)
        before, after = _to_seconds(start), _to_seconds(start + 1)
        return np.where(numbers - before <= after - numbers, before, after)

    def _to_numbers(self, values: pd.Series[Any]) -> Floats:
        if values.dtype.kind != "M" or isinstance(values.dtype, pd.DatetimeTZDtype):
            raise AeframeError(
                f"column '{self.column.name}' is of the kind 'date' and needs dates without a time zone, "
                f"found values of the type {values.dtype}"
            )
        return _to_seconds(values.to_numpy())

    def _to_values(self, numbers: Floats) -> pd.Series[Any]:
        dates = _to_dates(numbers)
        if self._unit == "millisecond":
            whole = np.round(np.nan_to_num(numbers) * 1e3).astype(np.int64) * 1000
            dates = np.where(np.isnat(dates), dates, whole.astype("datetime64[us]"))
        return pd.Series(dates, name=self.column.name)


def varying_parts(column: Column) -> tuple[str, ...]:
    """Return which of ``month``, ``weekday`` and ``hour`` vary in a column of dates, from its range and format."""
    low, high = column.low, column.high
    if low is None or high is None:
        return tuple(_PARTS)
    (first_month, last_month), (first_day, last_day) = (
        _to_dates(np.array([low, high])).astype(unit).astype(np.int64).tolist() for unit in ("M8[M]", "M8[D]")
    )
    if column.date_format is not None:
        has_time = any(code in column.date_format for code in _TIME_CODES)
    else:
        has_time = low % _SECONDS["day"] != 0 or high % _SECONDS["day"] != 0
    varies = {
        "month": first_month != last_month,
        "weekday": first_day != last_day,
        "hour": has_time and low // _SECONDS["hour"] != high // _SECONDS["hour"],
    }
    return tuple(part for part in _PARTS if varies[part])


def _part(seconds: Floats, part: str) -> NDArray[np.int64]:
    if part == "month":
        return _to_dates(seconds).astype("datetime64[M]").astype(np.int64) % 12
    days = np.floor(seconds / _SECONDS["day"])
    if part == "weekday":
        return (days.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    return ((seconds - days * _SECONDS["day"]) // _SECONDS["hour"]).astype(np.int64)


def _coarsest_unit(seconds: Floats) -> str:
    """Return the name of the coarsest unit of which all dates are whole multiples; microsecond if there are none."""
    if seconds.size == 0:
        return "microsecond"
    dates = _to_dates(seconds)
    for name, unit in _CALENDAR.items():
        if bool(np.all(dates.astype(unit).astype("datetime64[us]") == dates)):
            return name
    microseconds = dates.astype(np.int64)
    return next(name for name, unit in _SECONDS.items() if not np.any(microseconds % round(unit * 1e6)))


def _to_seconds(dates: NDArray[np.datetime64]) -> Floats:
    """Return seconds since 1970 as float64; NaN for NaT."""
    microseconds = dates.astype("datetime64[us]")
    return np.where(np.isnat(microseconds), np.nan, microseconds.astype(np.int64) / 1e6)


def _to_dates(seconds: Floats) -> NDArray[np.datetime64]:
    """Return dates as datetime64[us] from seconds since 1970; NaT for NaN."""
    missing = np.isnan(seconds)
    microseconds = np.round(np.where(missing, 0.0, seconds) * 1e6).astype(np.int64)
    return np.where(missing, np.datetime64("NaT", "us"), microseconds.astype("datetime64[us]"))
