"""Small series and CSV files for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe_series.series_file import SeriesFile

NAMES = ("a", "b", "c")


def values(num: int = 100) -> NDArray[np.float64]:
    """Return rows of three columns with different means and scales."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(num, 3)) * [1.0, 10.0, 0.1] + [0.0, 100.0, -3.0]


def hours(num: int) -> list[str]:
    """Return ISO dates, one hour apart."""
    start = np.datetime64("2016-07-01T00:00:00")
    return [str(start + np.timedelta64(hour, "h")).replace("T", " ") for hour in range(num)]


def csv(folder: Path, rows: NDArray[Any] | None = None, *, name: str = "a.csv", dates: list[str] | None = None) -> Path:
    """Write a CSV with a column ``date`` and empty cells for NaN; line 2 is row 0."""
    rows = values() if rows is None else rows
    dates = hours(len(rows)) if dates is None else dates
    texts = [["" if np.isnan(value) else repr(float(value)) for value in row] for row in rows]
    cells = [",".join([date, *row]) for date, row in zip(dates, texts, strict=True)]
    path = folder / name
    path.write_text("\n".join([",".join(["date", *NAMES[: rows.shape[1]]]), *cells]) + "\n")
    return path


def dataset(path: Path, **options: Any) -> SeriesFile:
    return SeriesFile(path=str(path), **options)
