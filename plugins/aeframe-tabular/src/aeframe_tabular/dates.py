"""Dates that are written as text: find their format, parse and write them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.data.tables.date_formats import candidate_formats

_DIGITS = "%Y%m%d"
_NUM_TRIED = 20
"""Values on which formats are tried before all."""
_MAX_CHARS = 40


@dataclass(frozen=True, slots=True)
class FoundDates:
    """How the dates of a column are written."""

    date_format: str
    """The format, for `datetime.strptime`."""
    others: tuple[str, ...] = ()
    """Other formats that fit all values, as other dates: day and month cannot be told apart."""
    second: str | None = None
    """The format of the values that `date_format` does not fit; None if it fits all."""
    example: str = ""
    """A value in the second format."""
    dates: NDArray[np.datetime64] = field(default_factory=lambda: np.zeros(0, "datetime64[us]"), compare=False)
    """The values; empty with a second format."""


def find_dates(values: Sequence[str]) -> FoundDates | None:
    """Return how dates are written, from all distinct values; None unless they are dates in at most two formats."""
    if not len(values) or not _may_be_date(values[0]):
        return None
    texts: Any = np.asarray(values, object)
    formats = _formats_of(texts[0])
    if formats and (mixed := _iso(texts, formats)) is not None:
        return mixed
    for tried in texts[:: max(1, len(texts) // _NUM_TRIED)]:
        still = [each for each in formats if _fits(tried, each)]
        if not still:
            return _two_formats(texts, formats)
        formats = still
    fitting = {each: dates for each in formats if not np.isnat(dates := parse_dates(texts, each)).any()}
    if not fitting:
        return _two_formats(texts, formats)
    first, *others = fitting
    differing = tuple(each for each in others if (fitting[each] != fitting[first]).any())
    return FoundDates(first, differing, dates=fitting[first])


def parse_dates(values: Any, date_format: str) -> NDArray[np.datetime64]:
    """Return dates ``(N,)`` of text as datetime64[us] in UTC, NaT for those of another format.

    In ISO 8601 the seconds and their fractions may be absent, as Python writes them.
    """
    texts = np.asarray(values, object)
    parsed = _parsed(texts, date_format)
    if date_format.startswith("%Y-%m-%d") and date_format.endswith(("%f", "%f%z")) and np.isnat(parsed).any():
        return _parsed(texts, "ISO8601")
    return parsed


def write_dates(dates: Any, date_format: str) -> NDArray[np.object_]:
    """Return dates ``(N,)`` as text in a format; None for NaT."""
    series = pd.Series(dates)
    if "%z" in date_format:
        series = series.dt.tz_localize("UTC")
    written = series.dt.strftime(date_format).to_numpy(object)
    written[series.isna().to_numpy()] = None
    return written


def _parsed(texts: Any, date_format: str) -> NDArray[np.datetime64]:
    parsed = pd.to_datetime(pd.Series(texts, dtype=object), format=date_format, errors="coerce", utc=True)
    naive: NDArray[np.datetime64] = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return naive


def _may_be_date(text: str) -> bool:
    return len(text) <= _MAX_CHARS and sum(char.isdigit() for char in text) >= 3


def _formats_of(text: str) -> list[str]:
    """Return the formats that fit a text."""
    found = [_DIGITS, *candidate_formats(text)] if len(text) == len("20240131") else candidate_formats(text)
    fitting = [each for each in found if _fits(text, each)]
    # A year of two digits is the first of three numbers only where it cannot be the last.
    return [each for each in fitting if not each.startswith("%y")] or fitting


def _fits(text: str, date_format: str) -> bool:
    try:
        datetime.strptime(text, date_format)
    except ValueError:
        return False
    return True


def _iso(texts: Any, formats: list[str]) -> FoundDates | None:
    """Return the format of dates in ISO 8601 of which only some have fractions of a second."""
    if not any(each.startswith("%Y-%m-%d") and "%S" in each for each in formats):
        return None
    has_fraction = np.array(["." in text for text in texts[:10_000]])
    if has_fraction.all() or not has_fraction.any() or np.isnat(dates := _parsed(texts, "ISO8601")).any():
        return None
    plain = next(each for each in formats if "%S" in each)
    return FoundDates(plain if "%f" in plain else plain.replace("%S", "%S.%f"), dates=dates)


def _two_formats(texts: Any, formats: list[str]) -> FoundDates | None:
    """Return both formats of dates in two formats; None if there are other texts or more formats."""
    for first in formats[:4]:
        others = texts[np.isnat(parse_dates(texts, first))]
        if not len(others) or not _may_be_date(others[0]):
            continue
        for second in itertools.islice(_formats_of(others[0]), 4):
            if not np.isnat(parse_dates(others, second)).any():
                return FoundDates(first, second=second, example=str(others[0]))
    return None
