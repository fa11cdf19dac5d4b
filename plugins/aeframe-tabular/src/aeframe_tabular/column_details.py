"""The properties of a column of a given kind: `described`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.data.tables.cells import shown
from aeframe.data.tables.day_and_month import decided_format
from aeframe.errors import AeframeError
from aeframe_tabular.column import DISCRETE, Column, Kind
from aeframe_tabular.dates import FoundDates, find_dates, parse_dates
from aeframe_tabular.distinct import Distinct, numbers_in
from aeframe_tabular.reading.table import RawTable
from aeframe_tabular.reading.text_columns import LARGEST

TRUTH_VALUES = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("0", "1"), ("off", "on"))
"""Pairs of values of a boolean, in lower case, the false one first."""
_MAX_DECIMALS = 10
_MIN_SPIKE = 0.2
"""The share of rows from which a number is a spike."""
_MIN_OTHERS = 20
"""Distinct numbers from which one of them can be a spike."""
_NUM_SAMPLED = 1000
_DIGITS_FORMAT = "%Y%m%d"
_DATE_NAME = re.compile(r"date|day|datum|jour|fecha", re.IGNORECASE)


@dataclass
class Cells:
    """The cells of one column."""

    name: str
    column: pd.Series[Any]
    raw: RawTable
    distinct: Distinct = field(init=False)

    def __post_init__(self) -> None:
        self.distinct = Distinct.of(self.column)

    @cached_property
    def texts(self) -> list[str]:
        """The distinct values as text."""
        return self.distinct.texts()

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """The distinct values as numbers; NaN for what is no number."""
        return numbers_in(self.distinct.values)

    @cached_property
    def dates(self) -> FoundDates | None:
        """How the distinct values are written as dates; None unless they are dates."""
        return find_dates(self.texts)

    @property
    def is_numeric(self) -> bool:
        """Whether the values are numbers or durations."""
        dtype: Any = self.column.dtype
        return bool(pd.api.types.is_numeric_dtype(dtype)) or dtype.kind == "m"

    @property
    def is_date(self) -> bool:
        """Whether the values are dates, not text."""
        return self.column.dtype.kind == "M"

    @property
    def are_whole(self) -> bool:
        """Whether all numbers are whole, and exact in float64."""
        numbers = self.numbers
        exact = (numbers == np.round(numbers)) & (np.abs(numbers) <= LARGEST)
        return bool(exact.all()) and self.column.dtype.kind != "m"

    @property
    def are_plain_numbers(self) -> bool:
        """Whether text that holds numbers has no leading zeros and no integers beyond 2**53."""
        if (np.abs(self.numbers) > LARGEST).any():
            return False
        return not any(re.match(r"[+-]?0\d", text) for text in self.texts)

    @property
    def is_integer_date(self) -> bool:
        """Whether whole numbers are dates such as 20240131, by the name of the column and all numbers."""
        low, high = self.numbers.min(), self.numbers.max()
        if not (_DATE_NAME.search(self.name) and low >= 18000101 and high <= 22001231):
            return False
        return not np.isnat(parse_dates(self.texts, _DIGITS_FORMAT)).any()

    @property
    def dtype(self) -> str:
        """The type in which values are returned."""
        dtype: Any = self.column.dtype
        if isinstance(dtype, pd.CategoricalDtype):
            categories: Any = dtype.categories.dtype
            return str(categories) if categories.kind in "biuf" else "category"
        return "str" if isinstance(dtype, pd.StringDtype) or dtype.kind == "O" else str(dtype)

    def truth_values(self) -> tuple[str, str] | None:
        """Return both values as they are written, the false one first; None if they are no truth values."""
        by_lower = {text.lower(): text for text in self.texts}
        return next(((by_lower[no], by_lower[yes]) for no, yes in TRUTH_VALUES if {no, yes} == {*by_lower}), None)

    def error(self, value: int, expected: str, advice: str) -> AeframeError:
        """Return the error for a distinct value, by its index, that the kind of the column excludes."""
        where = self.raw.where(self.distinct.first_row(value), self.name)
        return AeframeError(f"{where} is {shown(self.texts[value])}, expected {expected}; {advice}")


def described(
    cells: Cells, kind: Kind, reason: str, date_format: str | None, day_first: bool | None, *, is_set: bool
) -> Column:
    """Return a column of a kind with all its properties.

    Args:
        cells: Its cells.
        kind: Its kind.
        reason: Why it has this kind.
        date_format: The format of dates that are text, if the user states it.
        day_first: Whether the day is before the month in dates that both orders fit.
        is_set: Whether the user set the kind.

    Raises:
        AeframeError: A cell excludes the kind; the message names its row.
    """
    distinct = cells.distinct
    properties: dict[str, Any] = {}
    if is_set and not distinct.num and kind not in ("id", "text", "constant"):
        raise AeframeError(
            f"{cells.raw.origin}, column '{cells.name}' has no value, and cannot be a {kind}; exclude it"
        )
    if kind in DISCRETE:
        properties = {"classes": _classes(cells, kind)}
    elif kind == "date":
        properties, reason = _of_dates(cells, date_format, day_first, reason)
    elif kind in ("number", "integer"):
        properties, reason = _of_numbers(cells, kind, reason)
    example = str(distinct.values[0]) if distinct.num else ""
    return Column(
        name=cells.name,
        kind=kind,
        dtype=cells.dtype,
        num_missing=distinct.num_missing,
        num_distinct=distinct.num,
        example=example,
        reason=reason,
        **properties,
    )


def _classes(cells: Cells, kind: Kind) -> tuple[str, ...]:
    """Return the classes in their order: as declared, by the numbers in them, or by the alphabet."""
    dtype: Any = cells.column.dtype
    texts = cells.texts
    if kind == "boolean":
        found = cells.truth_values()
        if found is not None:
            return found
        if len(texts) != 2:
            raise AeframeError(
                f"{cells.raw.origin}, column '{cells.name}' has {len(texts)} distinct values, expected two for kind "
                "boolean; set its kind to category"
            )
        return (min(texts), max(texts))
    if isinstance(dtype, pd.CategoricalDtype):
        occurring = {*texts}
        declared = Distinct(pd.Index(dtype.categories), np.zeros(0, np.int64), np.zeros(0, np.intp)).texts()
        return tuple(text for text in declared if text in occurring)
    if cells.is_numeric or cells.is_date:
        return tuple(texts[number] for number in pd.Index(cells.distinct.values).argsort())
    return tuple(sorted(texts, key=_order_of_text) if kind == "ordinal" else sorted(texts))


def _order_of_text(text: str) -> tuple[float, float, str]:
    """Return what an ordinal text is sorted by: the first number in it, ``<`` before and ``>`` after equal numbers."""
    found = re.search(r"\d+(\.\d+)?", text)
    if found is None:
        return float("inf"), 0, text
    side = -1 if re.search(r"<|under|below|less", text, re.IGNORECASE) else 0
    side = 1 if re.search(r">|\+|over|above|more", text, re.IGNORECASE) else side
    return float(found.group()), side, text


def _of_numbers(cells: Cells, kind: Kind, reason: str) -> tuple[dict[str, Any], str]:
    """Return lowest and highest number, decimals and spike."""
    numbers = cells.numbers
    wrong = np.isnan(numbers)
    if wrong.any():
        value = int(np.argmax(wrong))
        advice = f"correct it, or set data.missing=['{cells.texts[value]}'] or data.kinds.{cells.name}=category"
        raise cells.error(value, f"a number (the kind is {kind})", advice)
    wrong = numbers != np.round(numbers)
    if kind == "integer" and wrong.any():
        raise cells.error(int(np.argmax(wrong)), "a whole number (the kind is integer)", "set its kind to number")
    decimals = 0 if kind == "integer" else _decimals(cells)
    most = int(np.argmax(cells.distinct.counts))
    share = cells.distinct.counts[most] / len(cells.column)
    spike = None
    if share >= _MIN_SPIKE and cells.distinct.num >= _MIN_OTHERS:
        spike = float(numbers[most])
        reason += f", {spike:g} in {share:.0%} of rows"
    elif kind == "number" and decimals:
        reason += f" of {decimals} decimal{'s' * (decimals > 1)}"
    return {"low": float(numbers.min()), "high": float(numbers.max()), "decimals": decimals, "spike": spike}, reason


def _decimals(cells: Cells) -> int | None:
    """Return the digits after the decimal mark with which all numbers are written; None for more than ten."""
    values: Any = cells.distinct.values
    # Numbers of single precision are rounded in single precision.
    exact = np.asarray(values) if values.dtype == np.float32 else cells.numbers
    for decimals in range(_MAX_DECIMALS + 1):
        if all((np.round(part, decimals) == part).all() for part in (exact[:_NUM_SAMPLED], exact)):
            return decimals
    return None


def _of_dates(cells: Cells, date_format: str | None, day_first: bool | None, reason: str) -> tuple[dict[str, Any], str]:
    """Return the format, first and last date."""
    if cells.is_date:
        dates: Any = as_utc(pd.Series(cells.distinct.values))
        return _range_of(dates), reason
    texts = cells.texts
    if date_format is None and cells.is_numeric:
        date_format = _DIGITS_FORMAT
    if date_format is None:
        found = cells.dates
        if found is None or found.second is not None:
            what = "in one format" if found is None else f"in one format, found {found.date_format} and {found.second}"
            value = 0 if found is None else texts.index(found.example)
            raise cells.error(value, f"a date {what}", f"set data.date_formats.{cells.name}, or another kind")
        date_format = found.date_format
        if found.others:
            origin = f"{cells.raw.origin}, column '{cells.name}'"
            remedy = f"data.date_formats.{cells.name}={date_format}"
            fitting = (date_format, *found.others)
            date_format = decided_format(fitting, day_first, origin=origin, example=texts[0], remedy=remedy)
    dates = parse_dates(texts, date_format)
    if np.isnat(dates).any():
        raise cells.error(int(np.argmax(np.isnat(dates))), f"a date in the format {date_format}", "correct it")
    return {**_range_of(dates), "date_format": date_format}, f"{reason}, written {date_format}"


def as_utc(dates: Any) -> NDArray[np.datetime64]:
    """Return dates of pandas, with or without a time zone, as datetime64[us] in UTC."""
    series = pd.Series(dates)
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return series.to_numpy().astype("datetime64[us]")


def _range_of(dates: NDArray[np.datetime64]) -> dict[str, float]:
    seconds = dates.astype("datetime64[us]").astype(np.int64) / 1e6
    return {"low": float(seconds.min()), "high": float(seconds.max())}
