"""The step between the times of a series, on the calendar where it is one, and gaps: `Step`.

Shapes: N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aeframe_series.times import Times

_GAP_FACTOR = 1.5
"""A difference between consecutive times above this multiple of the step is a gap."""
_REGULAR = 0.5
"""Fraction of the differences that must be equal to the step; the times are irregular otherwise."""
_SATURDAY = 5
_UNITS = (("day", 86_400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Step:
    """The difference between the times of consecutive rows."""

    text: str
    """The step with its unit: ``1 h``, ``1 month``."""
    after_gap: NDArray[np.bool_]
    """``(N,)``, True for rows after a gap: more than 1.5 steps after the row before."""
    is_constant: bool = False
    """Whether all rows are one step after the row before."""

    @property
    def num_gaps(self) -> int:
        """The number of gaps."""
        return int(self.after_gap.sum())


def step_of(times: Times, is_first: NDArray[np.bool_]) -> Step:
    """Return the step of times, the median of their differences, and the rows that are after a gap.

    Months, quarters and years differ in their days and are one step each, and so are working days around a weekend if
    there is no other day.

    Args:
        times: Times without missing ones.
        is_first: ``(N,)``, True for the first row of each series, which is after no gap.
    """
    within = ~is_first[1:]
    after_gap = np.zeros(len(is_first), bool)
    if not within.any():
        return Step("unknown", after_gap)
    differences, unit = _differences(times, within)
    step = float(np.median(differences[within]))
    # Differences are measured to a millionth of the step.
    is_equal = np.abs(differences[within] - step) <= 1e-6 * abs(step)
    after_gap[1:] = within & (differences > _GAP_FACTOR * step)
    text = _described(step, unit)
    if is_equal.mean() <= _REGULAR:
        text += " in the median (irregular)"
    return Step(text, after_gap, bool(is_equal.all()))


def _differences(times: Times, within: NDArray[np.bool_]) -> tuple[NDArray[np.float64], str]:
    """Return the differences ``(N - 1,)`` of consecutive times, and their unit."""
    if times.values.dtype.kind not in "mM":
        return np.diff(times.ticks).astype(np.float64), ""
    seconds = np.diff(times.values) / np.timedelta64(1, "s")
    if times.are_dates:
        day = 86_400.0
        median = float(np.median(seconds[within]))
        if median >= 27 * day and (months := _months(times.values)) is not None:
            return np.diff(months).astype(np.float64), "month"
        dates = times.values.astype("datetime64[D]")
        # The first of January 1970 was a Thursday.
        weekdays = (dates.astype(np.int64) + 3) % 7
        if median == day and (weekdays < _SATURDAY).all() and bool((seconds[within] == 3 * day).any()):
            return np.busday_count(dates[:-1], dates[1:]).astype(np.float64), "working day"
    return seconds, "s"


def _months(dates: NDArray[np.datetime64]) -> NDArray[np.int64] | None:
    """Return the number of the month of each date if all are on the same day of their month, or all on its last day."""
    months = dates.astype("datetime64[M]")
    days = dates.astype("datetime64[D]")
    in_month = (days - months.astype("datetime64[D]")).astype(np.int64)
    is_last = (days + np.timedelta64(1, "D")).astype("datetime64[M]") != months
    clock = dates - days
    if (clock != clock[0]).any() or not ((in_month == in_month[0]).all() or is_last.all()):
        return None
    return np.asarray(months.astype(np.int64))


def _described(step: float, unit: str) -> str:
    """Return a step with a fitting unit: ``15 min``, ``3 months``."""
    if unit == "month" and step % 12 == 0:
        step, unit = step / 12, "year"
    if unit == "s":
        unit, seconds = next(((name, size) for name, size in _UNITS if step >= size and step % size == 0), ("s", 1))
        step /= seconds
    number = f"{step:.10g}"
    if unit == "":
        return number
    # Units with a symbol have no plural.
    plural = number != "1" and unit not in ("s", "min", "h")
    return f"{number} {unit}{'s' * plural}"
