"""Parse the times of a series, in any of the usual formats: `parse_times`.

Shapes: N rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import Rows
from aeframe.data.tables.date_formats import candidate_formats
from aeframe.data.tables.day_and_month import decided_format, is_day_first
from aeframe.errors import AeframeError

TIME_NAMES = ("time", "date", "datetime", "timestamp", "ds")
"""Without a named time column, a column with one of these names is used, in any case and with any punctuation."""
_YEAR_NAMES = ("year", "quarter")
"""Names of time columns where there is none of `TIME_NAMES`."""
_MISSING = ("", "nan", "nat", "na", "n/a", "null", "none", "<na>")
_CHUNK = 100_000
"""Cells that are parsed at a time."""
_MAX_FORMATS = 3
"""Formats that one column may mix, such as cells with and without fractions of a second."""
_MAX_UNREADABLE = 0.1
"""Fraction of cells that are no time up to which they are single bad cells."""
_MAX_OTHER = 0.5
"""Fraction of cells that may be of another form than the one that is tried."""
_DIGITS = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Formats of dates that are written as whole numbers, by their number of digits."""
_YEARS = (1500, 2200)
"""Years of dates that are written as whole numbers."""
_EPOCH = (631_152_000, 4_102_444_800)
"""1990 and 2100 in seconds since 1970: numbers between them are such seconds, or fractions of seconds."""
_EPOCH_UNITS: tuple[tuple[str, Literal["s", "ms", "us", "ns"], int], ...] = (
    ("seconds", "s", 1),
    ("milliseconds", "ms", 10**3),
    ("microseconds", "us", 10**6),
    ("nanoseconds", "ns", 10**9),
)


@dataclass(frozen=True, slots=True)
class TimeOptions:
    """How the times of a file are read."""

    time_format: str | None = None
    """A format of `datetime.strptime`; None to find it."""
    day_first: bool | None = None
    """Whether 01/02/2021 is the first of February; None to find it from the whole column."""
    sort: bool | None = None
    """Whether rows are sorted by their times; None sorts those of named series only."""
    training: bool = True
    """Whether error messages may name options of training."""


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a series."""

    values: NDArray[Any]
    """``(N,)`` datetime64 (UTC), timedelta64, or numbers; NaT or NaN where a time is missing or cannot be read."""
    form: str
    """How the times are written: ``%d/%m/%Y``, ``ISO 8601``, ``numbers``."""
    unreadable: NDArray[np.bool_]
    """``(N,)``, True for cells that are not empty and no time."""

    @property
    def ticks(self) -> NDArray[Any]:
        """``(N,)`` int64 or float64 that increase with the times; not defined where `missing`."""
        return self.values.view(np.int64) if self.values.dtype.kind in "mM" else self.values

    @property
    def missing(self) -> NDArray[np.bool_]:
        """``(N,)``, True where there is no time."""
        return np.isnat(self.values) if self.values.dtype.kind in "mM" else np.isnan(self.values)

    @property
    def day_first(self) -> bool | None:
        """Whether the day is before the month in dates whose year is last; None for all other times."""
        if "%d" not in self.form or "%m" not in self.form or self.form.find("%Y") in range(self.form.find("%m")):
            return None
        return is_day_first(self.form)

    @property
    def are_dates(self) -> bool:
        """Whether the times are dates, not durations or numbers."""
        return self.values.dtype.kind == "M"

    def rows(self, index: NDArray[Any]) -> Times:
        """Return the times of the rows `index`."""
        return Times(self.values[index], self.form, self.unreadable[index])


def time_column(names: tuple[str, ...], taken: tuple[str, ...]) -> str | None:
    """Return the column whose name is that of a time; None without one. Columns in `taken` have another role."""
    free = [name for name in names if name not in taken]
    for known in (TIME_NAMES, _YEAR_NAMES):
        for name in free:
            if re.sub(r"[\W_]", "", name.lower()) in known:
                return name
    return None


def parse_times(
    rows: Rows,
    starts: NDArray[np.int64],
    options: TimeOptions,
) -> Times | None:
    """Return the times of rows from `Rows.label`; None without a time column.

    Dates without an offset from UTC are in UTC. The order of day and month is found from the whole column. Cells that
    are no time are marked as unreadable.

    Args:
        rows: The series.
        starts: ``(S,)`` the first row of each series; of two possible orders of day and month, the one that keeps the
            rows of each series in order is right.
        options: What is known of the format.

    Raises:
        AeframeError: Most cells are neither numbers nor dates, or day and month of dates cannot be told apart.
    """
    label = rows.label
    if label is None:
        return None
    if label.dtype.kind == "M":
        return _known(label.astype("datetime64[us]") if np.datetime_data(label.dtype)[0] == "D" else label, "dates")
    if label.dtype.kind == "m":
        return _known(label, "durations")
    if label.dtype.kind in "biuf":
        return _numbers(label, options.time_format)
    times = _Texts(label.astype(str, copy=False), starts, options).parse(rows.origin)
    if times is None or times.unreadable.sum() > _MAX_UNREADABLE * len(label):
        row = 0 if times is None else int(np.flatnonzero(times.unreadable)[0])
        form = options.time_format
        how = f"a date of the format {form}" if form else "a number or a date such as 2016-07-01 00:00:00"
        remedy = "name the time column with data.time, or set its format, such as data.time_format=%d/%m/%Y"
        raise AeframeError(
            f"{rows.where(row)}: '{_cell(label[row])}' is not a time, expected {how}; "
            + (f"correct it, {remedy}" if options.training else "correct it")
        )
    return times


def _cell(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _known(values: NDArray[Any], form: str) -> Times:
    return Times(np.ascontiguousarray(values), form, np.zeros(len(values), bool))


def _numbers(numbers: NDArray[Any], time_format: str | None = None) -> Times:
    """Return times that are numbers in the file: dates such as 19580329, an epoch, or any unit."""
    is_integer = numbers.dtype.kind in "biu"
    values = numbers.astype(np.int64) if is_integer else numbers.astype(np.float64)
    known = values if is_integer else values[~np.isnan(values)]
    if len(known) and (is_integer or bool((known == np.floor(known)).all())) and known.min() > 0:
        length = len(str(int(known.min())))
        form = time_format or _DIGITS.get(length)
        dates = None if form is None else _digit_dates(values, known, form, length, certain=time_format is not None)
        if dates is not None and form is not None:
            return _known(dates, form)
    for name, unit, factor in _EPOCH_UNITS if len(known) else ():
        if known.min() >= _EPOCH[0] * factor and known.max() <= _EPOCH[1] * factor:
            # Fractions of seconds are kept to microseconds.
            scale, resolution = (10**6, "us") if unit == "s" else (1, unit)
            dates = np.full(len(values), "NaT", f"datetime64[{resolution}]")
            present = np.ones(len(values), bool) if is_integer else ~np.isnan(values)
            dates[present] = np.round(known * scale).astype(np.int64).astype(f"datetime64[{resolution}]")
            return _known(dates, f"{name} since 1970")
    return _known(values if not is_integer else values.astype(np.float64 if _is_exact(values) else np.int64), "numbers")


def _is_exact(values: NDArray[Any]) -> bool:
    """Return whether integers are exact in double precision."""
    return not len(values) or bool(np.abs(values).max() < 2**53)


def _digit_dates(
    values: NDArray[Any], known: NDArray[Any], form: str, length: int, *, certain: bool
) -> NDArray[Any] | None:
    """Return the dates that whole numbers of `length` digits are; None if they are not all dates."""
    if not certain:
        if len(str(int(known.max()))) != length:
            return None
        years = known // 10 ** (length - 4)
        if not _YEARS[0] <= years.min() <= years.max() <= _YEARS[1]:
            return None
        if length == 6 and len(known) > 1 and not (np.abs(np.diff(known)) == 89).any():
            # 202001, 202002, ... count up as row numbers do, unless a year ends.
            return None
    texts = np.where(np.isnan(values), "", np.char.mod("%d", np.nan_to_num(values)))
    dates = _with_format(texts, form)
    return None if np.isnat(dates[~np.isnan(values)]).any() else dates


@dataclass(slots=True)
class _Texts:
    """Parses cells of text."""

    texts: NDArray[np.str_]
    starts: NDArray[np.int64]
    options: TimeOptions

    def parse(self, origin: str) -> Times | None:
        """Return the times; None if not even the first cell is a time."""
        texts = self.texts
        present = np.concatenate([~np.isin(np.char.lower(chunk), _MISSING) for chunk in _chunks(texts)])
        known = texts if present.all() else texts[present]
        if not len(known):
            return Times(np.full(len(texts), np.nan), "numbers", np.zeros(len(texts), bool))
        found = self._parse_known(known, np.flatnonzero(present), origin)
        if found is None:
            return None
        values, form = found
        empty = np.datetime64("NaT") if values.dtype.kind == "M" else np.timedelta64("NaT")
        all_values = np.full(len(texts), np.nan if values.dtype.kind == "f" else empty, values.dtype)
        all_values[present] = values
        times = Times(all_values, form, np.zeros(len(texts), bool))
        return Times(all_values, form, times.missing & present)

    def _parse_known(
        self, known: NDArray[np.str_], index: NDArray[Any], origin: str
    ) -> tuple[NDArray[Any], str] | None:
        """Return the times of cells that are not empty, and their format."""
        if (form := self.options.time_format) is not None:
            dates = _with_format(known, form)
            return None if np.isnat(dates).all() else (dates, form)
        try:
            numbers = _numbers(known.astype(np.float64))
        except ValueError:
            pass
        else:
            return numbers.values, numbers.form
        if known[0].strip().endswith((" UTC", " GMT")):
            known = np.char.replace(np.char.replace(known, " UTC", ""), " GMT", "")
        for parse, form in _FORMS:
            values = parse(known)
            if np.isnat(values).mean() < _MAX_OTHER:
                return values, form
        return self._by_format(known, index, origin)

    def _by_format(self, known: NDArray[np.str_], index: NDArray[Any], origin: str) -> tuple[NDArray[Any], str] | None:
        """Return dates whose format is found from the first cells; cells without a format are left out."""
        values = np.full(len(known), np.datetime64("NaT", "ns"))
        forms: list[str] = []
        for attempt in range(_MAX_FORMATS):
            left = np.flatnonzero(np.isnat(values))[attempt - len(forms) :]
            if not left.size:
                break
            candidates = candidate_formats(str(known[left[0]]).strip())
            if forms:
                # The order of day and month is that of the other cells.
                candidates = [form for form in candidates if is_day_first(form) == is_day_first(forms[0])]
            parsed = [(form, _with_format(known[left], form)) for form in candidates]
            # The right format parses as many of the cells as any other.
            most = max((int((~np.isnat(dates)).sum()) for _, dates in parsed), default=0)
            fitting = [(form, dates) for form, dates in parsed if int((~np.isnat(dates)).sum()) == most > 0]
            if not fitting:
                continue
            form, dates = self._decided(fitting, index[left], origin, str(known[left[0]]))
            values = values.astype(dates.dtype) if not forms else values
            values[left] = dates
            forms.append(form)
        return (values, " and ".join(forms)) if forms else None

    def _decided(
        self, fitting: list[tuple[str, NDArray[Any]]], index: NDArray[Any], origin: str, example: str
    ) -> tuple[str, NDArray[Any]]:
        """Return the right one of several formats that all fit the cells."""
        if len(fitting) > 1 and self.options.day_first is None:
            number = np.searchsorted(self.starts, index, side="right")
            ordered = [(form, dates) for form, dates in fitting if _is_monotone(dates, number)]
            fitting = ordered or fitting
            if len(fitting) > 1:
                fitting = [(form, dates) for form, dates in fitting if _is_regular(dates, number)] or fitting
        by_form = dict(fitting)
        form = decided_format(
            list(by_form),
            self.options.day_first,
            origin=origin,
            example=example,
            remedy=f"data.time_format={fitting[0][0]}",
            training=self.options.training,
        )
        return form, by_form[form]


def _is_monotone(dates: NDArray[Any], number: NDArray[Any]) -> bool:
    """Return whether the dates of each series never decrease, or never increase."""
    ticks = dates.view(np.int64)[~np.isnat(dates)]
    same = np.diff(number[~np.isnat(dates)]) == 0
    differences = np.diff(ticks)[same]
    return bool((differences >= 0).all() or (differences <= 0).all())


def _is_regular(dates: NDArray[Any], number: NDArray[Any]) -> bool:
    """Return whether all dates of each series are one step of the calendar apart, and later ones below."""
    from aeframe_series.steps import step_of

    times = _known(dates[~np.isnat(dates)], "dates")
    step = step_of(times, np.diff(number[~np.isnat(dates)], prepend=0) > 0)
    return step.is_constant and step.num_gaps == 0


def _chunks(texts: NDArray[np.str_]) -> Iterator[NDArray[np.str_]]:
    """Yield cells in parts, without blanks around them."""
    for start in range(0, len(texts), _CHUNK):
        yield np.char.strip(texts[start : start + _CHUNK])


def _with_format(texts: NDArray[np.str_], form: str) -> NDArray[Any]:
    """Return datetime64 (UTC); NaT for cells of another format."""
    import pandas as pd

    def parse(chunk: NDArray[np.str_]) -> NDArray[Any]:
        try:
            dates = pd.to_datetime(pd.Series(chunk, dtype=object), format=form, errors="coerce", utc=True)
        except ValueError as error:
            raise AeframeError(f"'{form}' is not a format of times ({error}); correct data.time_format") from None
        return np.asarray(dates.dt.tz_localize(None).to_numpy())

    return np.concatenate([parse(chunk) for chunk in _chunks(texts)])


def _iso_dates(texts: NDArray[np.str_]) -> NDArray[Any]:
    """Return datetime64 (UTC) of ISO 8601; NaT for other cells."""
    dates = _with_format(texts, "ISO8601")
    for row in (
        np.flatnonzero(np.isnat(dates)).tolist() if np.isnat(dates).any() and _is_early(str(texts[0]).strip()) else ()
    ):
        # Nanoseconds begin in 1677.
        dates = dates.astype("datetime64[us]")
        try:
            dates[row] = np.datetime64(str(texts[row]), "us")
        except ValueError:
            continue
    return dates


def _is_early(text: str) -> bool:
    return re.match(r"(0\d|1[0-6])\d\d-\d\d", text) is not None


def _durations(texts: NDArray[np.str_]) -> NDArray[Any]:
    """Return timedelta64 of ``1 days 02:00:00``, ``02:00:00``; NaT for other cells."""
    import pandas as pd

    first = str(texts[0]).strip()
    if re.fullmatch(r"[+-]?(\d+ days?,? ?)?([+-]?\d+:\d\d(:\d\d(\.\d+)?)?)?", first) is None:
        return np.full(len(texts), np.timedelta64("NaT", "ns"))
    if re.fullmatch(r"\d{1,2}:\d\d", first):
        texts = np.char.add(np.char.strip(texts), ":00")
    parts = [pd.to_timedelta(pd.Series(chunk, dtype=object), errors="coerce").to_numpy() for chunk in _chunks(texts)]
    return np.asarray(np.concatenate(parts))


def _periods(
    pattern: str, write: Callable[[re.Match[str]], str], form: str
) -> Callable[[NDArray[np.str_]], NDArray[Any]]:
    """Return a parser of periods: `write` maps a match of `pattern` to the first day, in the format `form`."""
    compiled = re.compile(pattern, re.IGNORECASE)

    def parse(texts: NDArray[np.str_]) -> NDArray[Any]:
        if compiled.fullmatch(str(texts[0]).strip()) is None:
            return np.full(len(texts), np.datetime64("NaT", "ns"))
        matches = (compiled.fullmatch(text.strip()) for text in texts.tolist())
        return _with_format(np.array(["" if match is None else write(match) for match in matches]), form)

    return parse


def _quarter(match: re.Match[str]) -> str:
    return f"{match['year']}-{3 * int(match['part']) - 2:02d}"


def _week(match: re.Match[str]) -> str:
    return f"{match['year']}-{match['part']}-1"


_FORMS: tuple[tuple[Callable[[NDArray[np.str_]], NDArray[Any]], str], ...] = (
    (_iso_dates, "ISO 8601"),
    (_periods(r"(?P<year>\d{4})[\s\-:/]?Q(?P<part>[1-4])", _quarter, "%Y-%m"), "quarters"),
    (_periods(r"Q(?P<part>[1-4])[\s\-/]*(?P<year>\d{4})", _quarter, "%Y-%m"), "quarters"),
    (_periods(r"(?P<year>\d{4})-?W(?P<part>\d{2})", _week, "%G-%V-%u"), "weeks"),
    (_durations, "durations"),
)
"""Forms of times that are tried before `candidate_formats`, each with its name."""
