"""CSV and TSV files, with or without a header (see `_names`).

In all functions, `chosen` are the indices of the columns of x.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from packaging.version import Version

from aeframe.data.tables.rows import Choice, Header, Rows, select_columns
from aeframe.errors import AeframeError

_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "#n/a", "#na", "<na>", "?"})
_MISSING_SPELLINGS = sorted({"NaN"} | {form for name in _MISSING for form in (name, name.upper(), name.title())})
"""Spellings that pandas recognises; a cell with another one is parsed by `_parse_by_cell`."""
_TRUTH = {"true": 1.0, "false": 0.0}
_NUM_COMPARED = 100
"""Lines with which the first line is compared to decide whether it is a header."""
_NUM_FEW = 5
"""With fewer lines below the first one, other numbers than its are no evidence for a header."""


def header(path: Path, choice: Choice) -> Header:
    """Return names and number of columns, from the first lines."""
    names = _names(path, choice.header)
    cells, _ = _cells(path, names, limit=2)
    chosen, _ = select_columns(path.name, names or _default_names(cells), choice)
    return Header((len(chosen),), tuple(names[number] for number in chosen) if names else None)


def read(path: Path, choice: Choice, *, mapped: bool = False) -> Rows:
    """Read the columns and the label that `choice` names; other columns may hold anything.

    pandas parses the file. Where it fails, or where its result could differ from Python's own `csv` and `float`, the
    file is parsed again cell by cell, which names the line and column of an error.
    """
    names = _names(path, choice.header)
    first_row, _ = _cells(path, names, limit=1)
    columns = names or _default_names(first_row)
    chosen, label = select_columns(path.name, columns, choice)
    parsed = _parse_fast(path, len(columns), chosen, num_header=1 if names else 0)
    if parsed is None:
        parsed = _parse_by_cell(path, columns, chosen, has_header=names is not None)
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


def first_cells(path: Path) -> list[str]:
    """Return the cells of the first line, which may be names or numbers."""
    return [cell.strip() for cell in _first_lines(path, 1)[0]]


def _names(path: Path, has_header: bool | None) -> list[str] | None:
    """Return the names in the first line, or None if it is a row.

    The line is a header if none of its cells is a number, or if a cell is text and all others in its column are
    numbers. A line of numbers is a row, unless it looks like a header, as pandas writes one for columns 0, 1, 2 or
    2019, 2020: this has to be decided by the user.

    Raises:
        AeframeError: The first line can be a header or a row.
    """
    first, *others = _first_lines(path, 1 + _NUM_COMPARED)
    names = [cell.strip() for cell in first]
    if has_header is not None:
        return names if has_header else None
    if not any(_is_value(cell) for cell in names):
        return names
    columns = [[row[number].strip() for row in others if number < len(row)] for number in range(len(names))]
    for name, column in zip(names, columns, strict=True):
        if name and not _is_value(name) and column and all(_is_value(cell) for cell in column):
            return names
    # Text above text, such as a label, may be a name or a value.
    numeric = [number for number, name in enumerate(names) if not name or _is_number(name)]
    if _is_doubtful([names[number] for number in numeric], [columns[number] for number in numeric]):
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise AeframeError(
            f"'{path.name}': the first line ({shown}) can be a header of numbers or a row of them; set data.header to "
            "true or false, or give the columns names that are not numbers"
        )
    return None


def _is_doubtful(names: list[str], columns: list[list[str]]) -> bool:
    """Return whether a first line of numbers and empty cells looks like a header, compared with the columns below it.

    It does if its numbers count up by one; with enough lines below also if they are whole and different, and no other
    line is of whole numbers; or if they ascend, and each lies outside the range of its column.
    """
    numbers = [float(name) for name in names if name]
    if len(numbers) < 2:
        return False
    steps = np.diff(numbers)
    is_whole = all(_is_whole(name) for name in names if name)
    if is_whole and (steps == 1).all() and (numbers[0] == 0 or len(numbers) > 2):
        return True
    rows = list(zip(*columns, strict=False))
    if len(numbers) < len(names) or len(rows) < _NUM_FEW:
        return False
    if is_whole and len(set(numbers)) == len(names) and not any(all(map(_is_whole, row)) for row in rows):
        return True
    if len(numbers) < 3 or not (steps > 0).all():
        return False
    known = [[float(cell) for cell in column if _is_number(cell)] for column in columns]
    return all(cells and not min(cells) <= number <= max(cells) for number, cells in zip(numbers, known, strict=True))


def _first_lines(path: Path, limit: int) -> list[list[str]]:
    """Return the cells of the first lines that are not empty, at least of one and at most of `limit`."""
    lines: list[list[str]] = []
    with _read_errors(path), _opened(path, "r") as file:
        for row in csv.reader(file, delimiter=_delimiter(path)):
            if row:
                lines.append(row)
            if len(lines) == limit:
                break
    if not lines:
        raise AeframeError(f"'{path}' has no rows, expected rows of numbers")
    return lines


def _cells(path: Path, names: list[str] | None, limit: int | None = None) -> tuple[list[list[str]], list[int]]:
    """Return the cells and line numbers of the first `limit` rows, without the header if the file has `names`."""
    cells: list[list[str]] = []
    lines: list[int] = []
    skip = names is not None
    with _read_errors(path), _opened(path, "r") as file:
        reader = csv.reader(file, delimiter=_delimiter(path))
        for row in reader:
            if not row:
                continue
            if skip:
                skip = False
                continue
            width = len(names if names is not None else cells[0] if cells else row)
            if len(row) != width:
                raise AeframeError(
                    f"{path.name}, line {reader.line_num}: the row has {len(row)} cells, expected {width} as above "
                    f"it{_separator_hint(path)}"
                )
            cells.append(row)
            lines.append(reader.line_num)
            if len(cells) == limit:
                break
    if not cells:
        raise AeframeError(f"'{path}' has no rows{' below its header' if names else ''}, expected rows of numbers")
    return cells, lines


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Raise AeframeError for a file that is not text of rows."""
    try:
        yield
    except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile) as error:
        raise AeframeError(f"'{path}' cannot be read as {path.suffix} ({error}); expected UTF-8 text") from None


def _separator_hint(path: Path) -> str:
    """Return the advice for a file whose first line has one cell, which contains another separator."""
    first = _first_lines(path, 1)[0]
    other = next((separator for separator in (";", "\t", "|", ",") if separator in first[0]), None)
    if len(first) > 1 or other is None:
        return ""
    name = "tabs" if other == "\t" else f"'{other}'"
    expected = "tabs" if _delimiter(path) == "\t" else "commas"
    return f"; its cells seem to be separated by {name}: write it with {expected} between cells and points in decimals"


_Parsed = tuple[NDArray[np.float64], Mapping[int, Sequence[str]], Sequence[int]]
"""Values of the columns of x ``(N, D)``, cells of the other columns by index, and the line number of each row."""


def _parse_by_cell(path: Path, columns: list[str], chosen: list[int], *, has_header: bool) -> _Parsed:
    """Parse with `csv` and `float`; errors name the line and the column."""
    rows, lines = _cells(path, columns if has_header else None)
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


def _is_value(cell: str) -> bool:
    """Return whether a cell is a number, a truth value or a word for a missing value, and not empty."""
    word = cell.strip().lower()
    return bool(word) and (word in _TRUTH or word in _MISSING or _is_number(cell))


def _is_whole(cell: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+\s*", cell) is not None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: Path, name: str, cells: Sequence[str], lines: list[int]) -> NDArray[np.float64]:
    """Return the numbers in the cells of column `name`; true is 1, false is 0, and missing ones are NaN."""
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        pass
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        word = cell.strip().lower()
        if word in _MISSING:
            continue
        if word in _TRUTH:
            values[row] = _TRUTH[word]
            continue
        if not _is_number(cell):
            raise AeframeError(
                f"{path.name}, line {lines[row]}, column '{name}': '{cell}' is not a number; name the columns to read "
                f"with columns, those to leave out with exclude, or the label with label{_separator_hint(path)}"
            )
        values[row] = float(cell)
    return values


def _label(cells: Sequence[str]) -> NDArray[Any]:
    """Return the labels as numbers if all cells are numbers, otherwise as strings."""
    numeric = all(_is_number(cell) for cell in cells)
    return np.array([float(cell) for cell in cells]) if numeric else np.array([cell.strip() for cell in cells])
