"""Copy a table with numbers in place of missing values, and everything else as it is: `write_filled_rows`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import arrays, parquet, text
from aeframe.data.tables.compression import TEXT_SUFFIXES, plain_suffix
from aeframe.data.tables.dialect import find_dialect
from aeframe.data.tables.filled_text import write_filled_text
from aeframe.data.tables.rows import Choice


@dataclass(frozen=True, slots=True)
class FilledRows:
    """Some rows of a table with filled values."""

    rows: NDArray[np.int64]
    """``(n,)``: the number of each row in the file, ascending."""
    values: NDArray[Any]
    """``(n, *shape)`` in the unit of the file."""
    missing: NDArray[np.bool_]
    """``(n, *shape)``: True where a value was filled."""


def table_format(path: Path) -> str:
    """Return the suffix that stands for the format of a table: ``.csv`` for all text tables, also compressed ones."""
    suffix = plain_suffix(path)
    return ".csv" if suffix in TEXT_SUFFIXES else suffix


def can_fill(original: Path, path: Path) -> bool:
    """Return whether `write_filled_rows` can copy a table to a new file: both are text, or have the same suffix."""
    return table_format(original) == table_format(path)


def write_filled_rows(original: Path, path: Path, choice: Choice, parts: Iterable[FilledRows]) -> list[Path]:
    """Write a table as a new file of the same format, with numbers in place of missing values; return the file.

    Args:
        original: The table.
        path: The new file.
        choice: What was read from the table.
        parts: Its rows with filled values, in order; those without missing values may be absent.
    """
    kind = table_format(original)
    if kind in TEXT_SUFFIXES:
        dialect = find_dialect(original, choice.text)
        numbers, has_header = text.columns_of_x(original, choice)
        cells = _cells(parts, numbers, dialect.cells.decimal)
        write_filled_text(original, path, dialect, cells, has_header=has_header)
    elif kind in (".npy", ".npz"):
        arrays.write_replaced(original, path, choice, lambda values: _filled(values, parts))
    else:
        parquet.write_replaced(original, path, choice, _by_column(parts))
    return [path]


def _cells(parts: Iterable[FilledRows], numbers: list[int], decimal: str) -> Iterator[tuple[int, Mapping[int, str]]]:
    """Yield the new cells of each row by the number of their column, each number with the fewest digits."""
    for part in parts:
        chosen = part.missing.any(1)
        texts = part.values[chosen].astype(str)
        texts = np.char.replace(texts, ".", decimal) if decimal != "." else texts
        for row, cells, missing in zip(part.rows[chosen].tolist(), texts, part.missing[chosen], strict=True):
            yield row, {numbers[column]: str(cells[column]) for column in np.flatnonzero(missing).tolist()}


def _filled(values: NDArray[Any], parts: Iterable[FilledRows]) -> NDArray[Any]:
    """Return a copy of the rows ``(N, *shape)`` with the filled values; integers become floating-point numbers."""
    filled = np.array(values, values.dtype if values.dtype.kind == "f" else np.float64)
    for part in parts:
        filled[part.rows] = np.where(part.missing, part.values, filled[part.rows])
    return filled


def _by_column(parts: Iterable[FilledRows]) -> list[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Return for each column of x the rows with a filled value, and the values."""
    all_parts = list(parts)
    rows = np.concatenate([part.rows for part in all_parts])
    values = np.concatenate([part.values for part in all_parts])
    missing = np.concatenate([part.missing for part in all_parts])
    return [(rows[gaps], column[gaps]) for gaps, column in zip(missing.T, values.T, strict=True)]
