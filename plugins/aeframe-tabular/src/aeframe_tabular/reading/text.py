"""CSV, TSV and other text tables of mixed types, in any dialect (see `aeframe.data.tables.dialect`).

Files of one line for each row, in which nothing is wrong, are parsed by pyarrow; others by `csv`, which counts lines.
"""

from __future__ import annotations

import functools
import mmap
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from aeframe.data.file_samples import OnError
from aeframe.data.tables.compression import READ_ERRORS, SUFFIXES, open_binary
from aeframe.data.tables.dialect import WHITESPACE, Dialect, delimiter_hint, find_dialect, rows_of_cells
from aeframe.data.tables.header_line import FirstLines, read_first_lines
from aeframe.data.tables.scan import unreadable
from aeframe.errors import AeframeError
from aeframe_tabular.reading.checks import checked
from aeframe_tabular.reading.selection import chosen_columns
from aeframe_tabular.reading.table import RawTable, TableOptions
from aeframe_tabular.reading.text_columns import Marks, column_of_text

_BLOCK_BYTES = 1 << 23
"""Bytes that pyarrow parses at a time; a row must fit into them."""
_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the cells of a text table are."""

    path: Path
    dialect: Dialect
    has_header: bool
    names: list[str]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line and the cells of each row, also of rows with another number of cells."""
        with closing(rows_of_cells(self.path, self.dialect)) as rows:
            for number, row in enumerate(rows):
                if number or not self.has_header:
                    yield row


def read(path: Path, options: TableOptions, on_error: OnError) -> RawTable:
    """Read a text table; see `aeframe_tabular.reading.read_frame`."""
    dialect = find_dialect(path, options.of_text())
    first = read_first_lines(path, dialect, options.header)
    notes = list(dialect.notes)
    row_id = _row_id(first, options)
    names = list(first.columns)
    _check_first_row(path, dialect, first)
    if first.names is None:
        last = len(names) - 1
        notes.append(
            f"'{path.name}' has no header, its columns are named 0 to {last}; set data.header=true if its first line "
            "is one"
        )
    chosen = chosen_columns(f"'{path.name}'", names, options, kept=() if row_id is None else (row_id,))
    layout = _Layout(path, dialect, first.names is not None, names)
    read_numbers = [*chosen, *([] if row_id is None else [row_id])]
    columns, bad, number_of = _cells(layout, read_numbers, on_error)
    num = len(columns[read_numbers[0]])
    if num == 0:
        raise AeframeError(f"'{path}' has no rows{' that can be used' if bad else ''}, expected rows of a table")
    marks = Marks(options.missing)
    decimal: Literal[".", ","] = "," if dialect.cells.decimal == "," else "."
    # Without a stated mark, each column of a file without commas as delimiters may have its own.
    either = options.decimal is None and decimal == "." and dialect.delimiter != ","
    values: dict[str, Any] = {}
    for number in chosen:
        column = column_of_text(columns.pop(number), marks, None if either else decimal)
        values[names[number]] = column.values
        if column.note:
            place = "" if column.row is None else f" (line {number_of(column.row)})"
            text = "" if column.row is None else ", and is read as text"
            notes.append(f"'{path.name}', column '{names[number]}' {column.note}{place}{text}")
    index = None
    if row_id is not None:
        index = pd.Index(column_of_text(columns.pop(row_id), marks).values, name=names[row_id] or None)
        notes.append(f"'{path.name}': the first column, without a name, identifies the rows")
    frame = pd.DataFrame(values, index=index, copy=False)
    delimiter = {"\t": "tab", WHITESPACE: None}.get(dialect.delimiter, dialect.delimiter)
    found = replace(
        options,
        delimiter=delimiter,
        decimal="," if decimal == "," else ".",
        encoding=dialect.scan.encoding,
        header=layout.has_header,
    )
    return checked(RawTable(frame, path.name, notes, bad, "line", number_of, found), on_error)


def _row_id(first: FirstLines, options: TableOptions) -> int | None:
    """Return the number of a first column without a name that identifies the rows, unless it is chosen by name."""
    row_id = first.row_id()
    if row_id is not None and first.columns[row_id] in (*options.exclude, *(options.columns or ())):
        return None
    return row_id


def _check_first_row(path: Path, dialect: Dialect, first: FirstLines) -> None:
    """Raise AeframeError if all first rows have another number of cells than the header."""
    widths = {len(row) for row in first.rows}
    if first.names is None or len(widths) != 1 or widths == {len(first.names)}:
        return
    [width] = widths
    hint = delimiter_hint(first.names[0] if len(first.names) == 1 else first.rows[0][0], dialect.delimiter)
    raise AeframeError(
        f"'{path.name}': the header has {len(first.names)} names, and the rows have {width} cells; name every column, "
        f"or remove delimiters at the ends of lines{hint}"
    )


def _cells(layout: _Layout, numbers: Sequence[int], on_error: OnError) -> tuple[dict[int, Any], dict[int, str], Any]:
    """Return the cells of columns by their numbers, a sentence for each bad line, and the line of each row."""
    table, num_bad = _parsed_by_arrow(layout, numbers)
    if table is None or (num_bad and on_error == "raise"):
        return _parsed_by_csv(layout, numbers, on_error)
    bad = _bad_lines(layout) if num_bad else {}
    return {number: table.column(str(number)) for number in numbers}, bad, functools.partial(_line_of, layout)


def _line_of(layout: _Layout, row: int) -> int:
    """Return the line of a row, counted without bad rows."""
    width = len(layout.names)
    scan = layout.dialect.scan
    good = (line for line, cells in layout.rows() if len(cells) == width)
    return next((line for position, line in enumerate(good) if position == row), scan.num_lines)


def _bad_lines(layout: _Layout) -> dict[int, str]:
    width = len(layout.names)
    return {line: _ragged(layout, line, cells) for line, cells in layout.rows() if len(cells) != width}


def _ragged(layout: _Layout, line: int, cells: list[str]) -> str:
    """Return the sentence on a row with another number of cells."""
    hint = delimiter_hint(cells[0], layout.dialect.delimiter) if len(cells) == 1 else ""
    expected = len(layout.names)
    missing = f" (none for column '{layout.names[len(cells)]}')" if len(cells) < expected else ""
    return (
        f"'{layout.path.name}', line {line} has {len(cells)} {'cell' if len(cells) == 1 else 'cells'}{missing}, "
        f"expected {expected}{hint}"
    )


def _parsed_by_arrow(layout: _Layout, numbers: Sequence[int]) -> tuple[Any, int]:
    """Return the cells as strings, without rows of another length, and how many these are; None if `csv` has to parse.

    Lines that end in a carriage return, and quotation marks after a blank, have another meaning for pyarrow.
    """
    dialect = layout.dialect
    if dialect.delimiter == WHITESPACE or not dialect.scan.is_simple:
        return None, 0
    try:
        source, num_quotes, has_blank_quotes = _source(layout)
    except READ_ERRORS as error:
        raise unreadable(layout.path, error) from None
    if num_quotes % 2 or has_blank_quotes:
        return None, 0
    names = [str(number) for number in range(len(layout.names))]
    num_bad = 0

    def skip(row: Any) -> str:
        nonlocal num_bad
        num_bad += 1
        return "skip"

    try:
        table = pa.csv.read_csv(
            source,
            pa.csv.ReadOptions(
                column_names=names,
                skip_rows=dialect.num_skipped,
                skip_rows_after_names=int(layout.has_header),
                block_size=_BLOCK_BYTES,
            ),
            pa.csv.ParseOptions(
                delimiter=dialect.delimiter, newlines_in_values=num_quotes > 0, invalid_row_handler=skip
            ),
            pa.csv.ConvertOptions(
                include_columns=[str(number) for number in numbers],
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowException:
        # Such as a row beyond the size of a block; `csv` finds the line.
        return None, 0
    return table, num_bad


def _source(layout: _Layout) -> tuple[Any, int, bool]:
    """Return the file in UTF-8, its number of quotation marks, and whether one follows a delimiter and blanks."""
    path, encoding = layout.path, layout.dialect.scan.encoding
    blank_quote = re.compile(rb"(?:^|\n|" + re.escape(layout.dialect.delimiter.encode()) + rb') +"')
    if path.suffix.lower() in SUFFIXES or encoding not in ("utf-8", "utf-8-sig"):
        with open_binary(path) as file:
            data = file.read()
        if encoding not in ("utf-8", "utf-8-sig"):
            data = data.decode(encoding).encode()
        num = data.count(b'"')
        return pa.BufferReader(data), num, num > 0 and blank_quote.search(data) is not None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        num = sum(mapped[start : start + _BLOCK_BYTES].count(b'"') for start in range(0, len(mapped), _BLOCK_BYTES))
        has_blank_quotes = num > 0 and blank_quote.search(mapped) is not None
    return str(path), num, has_blank_quotes


def _parsed_by_csv(
    layout: _Layout, numbers: Sequence[int], on_error: OnError
) -> tuple[dict[int, Any], dict[int, str], Any]:
    """As `_cells`, by `csv`."""
    width, bad = len(layout.names), {}
    parts: dict[int, list[Any]] = {number: [] for number in numbers}
    lines: list[int] = []
    block: list[list[str]] = []

    def flush() -> None:
        for number in numbers:
            parts[number].append(pa.array([row[number] for row in block], pa.string()))
        block.clear()

    for line, row in layout.rows():
        cells = row
        if len(cells) != width:
            bad[line] = _ragged(layout, line, cells)
            if on_error == "raise":
                raise AeframeError(f"{bad[line]}; correct it, or leave such rows out with data.on_error=skip")
            continue
        lines.append(line)
        block.append(cells)
        if len(block) == _BLOCK_ROWS:
            flush()
    flush()
    columns = {number: pa.chunked_array(parts[number], pa.string()) for number in numbers}
    return columns, bad, lines.__getitem__
