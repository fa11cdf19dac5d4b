"""CSV and TSV: cells of text, the first line being names where none of its cells is a number."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables.rows import Choice, Header, Rows, pick
from aeframe.errors import AeframeError

_MISSING = frozenset({"", "nan", "na", "n/a", "null"})


def header(path: Path, choice: Choice) -> Header:
    """Read the first two rows."""
    names, cells, _ = _cells(path, limit=2)
    chosen, _ = pick(path.name, names or _positions(cells), choice)
    return Header((len(chosen),), tuple(names[number] for number in chosen) if names else None)


def read(path: Path, choice: Choice) -> Rows:
    """Read every row; columns that were not chosen may hold anything."""
    names, cells, lines = _cells(path)
    chosen, label = pick(path.name, names or _positions(cells), choice)
    columns = list(zip(*cells, strict=True))
    calls = names or _positions(cells)
    values = np.stack([_numbers(path, calls[number], columns[number], lines) for number in chosen], axis=1)
    return Rows(
        values,
        path.name,
        tuple(names[number] for number in chosen) if names else None,
        None if label is None else _label(columns[label]),
        np.array(lines),
        place="line",
    )


def write(path: Path, values: NDArray[Any], columns: Sequence[str] | None) -> None:
    """Write rows ``(N, D)``, each number in the fewest digits that read back as itself."""
    with _opened(path, "w") as file:
        writer = csv.writer(file, delimiter=_delimiter(path), lineterminator="\n")
        if columns is not None:
            writer.writerow(columns)
        writer.writerows(values.astype(str).tolist())


def _cells(path: Path, limit: int | None = None) -> tuple[list[str] | None, list[list[str]], list[int]]:
    """Return the names, the rows as text and the line of each; with `limit`, of the first rows only."""
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


def _opened(path: Path, mode: Literal["r", "w"]) -> TextIO:
    # utf-8-sig: spreadsheets begin a file with a mark that would else be part of the first name.
    encoding = "utf-8-sig" if mode == "r" else "utf-8"
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    return opened(path, f"{mode}t", encoding=encoding, newline="")


def _delimiter(path: Path) -> str:
    return "\t" if ".tsv" in path.name.lower() else ","


def _positions(cells: list[list[str]]) -> list[str]:
    return [str(number) for number in range(len(cells[0]))]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: Path, name: str, cells: Sequence[str], lines: list[int]) -> NDArray[np.float64]:
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
    numeric = all(_is_number(cell) for cell in cells)
    return np.array([float(cell) for cell in cells]) if numeric else np.array([cell.strip() for cell in cells])
