"""CSV and TSV files. The first line is a header if none of its cells is a number.

In all functions, `chosen` are the indices of the columns of x.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from packaging.version import Version

from aeframe.data.tables.rows import Choice, Header, Rows, select_columns
from aeframe.errors import AeframeError

_MISSING = frozenset({"", "nan", "na", "n/a", "null"})
_MISSING_SPELLINGS = sorted({"NaN"} | {form for name in _MISSING for form in (name, name.upper(), name.title())})
"""Spellings that pandas recognises; a cell with another one is parsed by `_parse_by_cell`."""


def header(path: Path, choice: Choice) -> Header:
    """Return names and number of columns, from the first two rows."""
    names, cells, _ = _cells(path, limit=2)
    chosen, _ = select_columns(path.name, names or _default_names(cells), choice)
    return Header((len(chosen),), tuple(names[number] for number in chosen) if names else None)


def read(path: Path, choice: Choice, *, mapped: bool = False) -> Rows:
    """Read the columns and the label that `choice` names; other columns may hold anything.

    pandas parses the file. Where it fails, or where its result could differ from Python's own `csv` and `float`, the
    file is parsed again cell by cell, which names the line and column of an error.
    """
    names, first_row, _ = _cells(path, limit=1)
    columns = names or _default_names(first_row)
    chosen, label = select_columns(path.name, columns, choice)
    parsed = _parse_fast(path, len(columns), chosen, num_header=1 if names else 0)
    if parsed is None:
        parsed = _parse_by_cell(path, columns, chosen)
    values, cells, lines = parsed
    return Rows(
        values,
        path.name,
        tuple(columns[number] for number in chosen) if names else None,
        None if label is None else _label(cells[label]),
        np.array(lines),
        place="line",
    )


def write(path: Path, values: NDArray[Any], columns: Sequence[str] | None) -> None:
    """Write rows ``(N, D)``, each number with the fewest digits that reproduce it."""
    with _opened(path, "w") as file:
        writer = csv.writer(file, delimiter=_delimiter(path), lineterminator="\n")
        if columns is not None:
            writer.writerow(columns)
        writer.writerows(values.astype(str).tolist())


def _cells(path: Path, limit: int | None = None) -> tuple[list[str] | None, list[list[str]], list[int]]:
    """Return the names in the header (None without one), and of the first `limit` rows the cells and line numbers."""
    names: list[str] | None = None
    cells: list[list[str]] = []
    lines: list[int] = []
    try:
        with _opened(path, "r") as file:
            reader = csv.reader(file, delimiter=_delimiter(path))
            for row in reader:
                if not row:
                    continue
                if names is None and not cells and not any(_is_number(cell) for cell in row):
                    names = [cell.strip() for cell in row]
                    continue
                width = len(names if names is not None else cells[0] if cells else row)
                if len(row) != width:
                    place = f"{path.name}, line {reader.line_num}"
                    raise AeframeError(f"{place}: the row has {len(row)} cells, expected {width} as above it")
                cells.append(row)
                lines.append(reader.line_num)
                if len(cells) == limit:
                    break
    except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile) as error:
        raise AeframeError(f"'{path}' cannot be read as {path.suffix} ({error}); expected UTF-8 text") from None
    if not cells:
        raise AeframeError(f"'{path}' has no rows{' below its header' if names else ''}, expected rows of numbers")
    return names, cells, lines


_Parsed = tuple[NDArray[np.float64], Mapping[int, Sequence[str]], Sequence[int]]
"""Values of the columns of x ``(N, D)``, cells of the other columns by index, and the line number of each row."""


def _parse_by_cell(path: Path, columns: list[str], chosen: list[int]) -> _Parsed:
    """Parse with `csv` and `float`; errors name the line and the column."""
    _, rows, lines = _cells(path)
    cells = dict(enumerate(zip(*rows, strict=True)))
    values = np.stack([_numbers(path, columns[number], cells[number], lines) for number in chosen], axis=1)
    return values, cells, lines


def _parse_fast(path: Path, width: int, chosen: list[int], *, num_header: int) -> _Parsed | None:
    """Parse with pandas; None where the result could differ from that of `_parse_by_cell`."""
    import pandas as pd

    others = sorted(set(range(width)).difference(chosen))
    options: dict[str, Any] = {"na_values": dict.fromkeys(chosen, _MISSING_SPELLINGS)}
    if Version(pd.__version__) < Version("3.1"):
        # Since 3.1 the default is as exact, and the option deprecated.
        options["float_precision"] = "round_trip"
    try:
        with _opened(path, "rb") as file:
            content = file.read()
        table = pd.read_csv(
            io.BytesIO(content),
            sep=_delimiter(path),
            header=None,
            skiprows=num_header,
            dtype=dict.fromkeys(chosen, np.float64) | dict.fromkeys(others, object),
            keep_default_na=False,
            **options,
        )
    except (ValueError, OSError, EOFError, zlib.error):
        return None
    num_lines = content.count(b"\n") + (not content.endswith(b"\n"))
    bare_returns = b"\r" in content and content.count(b"\r") != content.count(b"\r\n")
    if bare_returns or b"\0" in content or len(table) + num_header != num_lines or table.shape[1] != width:
        return None
    # pandas fills up a row that is too short with missing values.
    last_column = table[width - 1]
    if (last_column.isna() | (last_column == "")).any() and not _has_width(path, width):
        return None
    values = np.ascontiguousarray(table[chosen].to_numpy(np.float64))
    # pandas parses a column of true and false as 1 and 0.
    has_zero_one_column = ((values == 0) | (values == 1) | np.isnan(values)).all(0).any()
    if has_zero_one_column and re.search(rb"true|false", content, re.IGNORECASE):
        return None
    return values, {number: table[number].tolist() for number in others}, range(num_header + 1, num_lines + 1)


def _has_width(path: Path, width: int) -> bool:
    """Return whether every row has `width` cells."""
    with _opened(path, "r") as file:
        return all(len(row) == width for row in csv.reader(file, delimiter=_delimiter(path)) if row)


def _opened(path: Path, mode: Literal["r", "w", "rb"]) -> IO[Any]:
    open_file: Any = gzip.open if path.suffix.lower() == ".gz" else open
    if mode == "rb":
        return open_file(path, mode)
    # utf-8-sig: spreadsheets begin a file with a byte order mark, which is no part of the first name.
    encoding = "utf-8-sig" if mode == "r" else "utf-8"
    return open_file(path, f"{mode}t", encoding=encoding, newline="")


def _delimiter(path: Path) -> str:
    return "\t" if ".tsv" in path.name.lower() else ","


def _default_names(cells: list[list[str]]) -> list[str]:
    return [str(number) for number in range(len(cells[0]))]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: Path, name: str, cells: Sequence[str], lines: list[int]) -> NDArray[np.float64]:
    """Return the numbers in the cells of column `name`; missing ones are NaN."""
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        pass
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell.strip().lower() in _MISSING:
            continue
        if not _is_number(cell):
            raise AeframeError(
                f"{path.name}, line {lines[row]}, column '{name}': '{cell}' is not a number; "
                "name the columns to read with columns, or the one to set aside with label"
            )
        values[row] = float(cell)
    return values


def _label(cells: Sequence[str]) -> NDArray[Any]:
    """Return the labels as numbers if all cells are numbers, otherwise as strings."""
    numeric = all(_is_number(cell) for cell in cells)
    return np.array([float(cell) for cell in cells]) if numeric else np.array([cell.strip() for cell in cells])
