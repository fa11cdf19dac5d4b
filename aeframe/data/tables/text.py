"""CSV, TSV and other text tables, with or without a header (see `header_line`), in any dialect (see `dialect`)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.lazy_rows import LazyRows
from aeframe.data.tables.cells import CellReader, is_number, is_whole
from aeframe.data.tables.compression import open_for_writing, plain_suffix
from aeframe.data.tables.dialect import Dialect, DialectError, TextOptions, find_dialect
from aeframe.data.tables.header_line import FirstLines, first_cells, read_first_lines
from aeframe.data.tables.parse import Wanted, parse
from aeframe.data.tables.rows import Choice, Header, Rows, listed, select_columns, select_others

_MAX_INT = np.iinfo(np.int64).max


def header(path: Path, choice: Choice) -> Header:
    """Return names and number of columns, from the first lines."""
    wanted, _, first = _wanted(path, choice)
    return Header((len(wanted.x),), tuple(wanted.columns[number] for number in wanted.x) if first.names else None)


def names(path: Path, choice: Choice) -> tuple[str, ...] | None:
    """Return the names in the first line; None if it is a row."""
    first = read_first_lines(path, find_dialect(path, choice.text), choice.text.header)
    return None if first.names is None else tuple(first.names)


def read(path: Path, choice: Choice, *, mapped: bool = False, keep_bad: bool = False) -> Rows:
    """Read the columns that `choice` names; other columns may hold anything."""
    wanted, dialect, first = _wanted(path, choice)
    parsed = parse(path, wanted, dialect, has_header=first.names is not None, keep_bad=keep_bad)
    notes = [*dialect.notes, *parsed.notes]
    if truth := first.truth_columns(wanted.x):
        notes.append(f"'{path.name}': true and false were read as 1 and 0 in {len(truth)} columns ({listed(truth)})")
    row_names = None
    if wanted.row_id is not None:
        row_names = np.array([cell.strip() for cell in parsed.cells[wanted.row_id]])
        if choice.id is None:
            name = wanted.columns[wanted.row_id]
            example = f"{repr(name) if name else 'without a name'}: {row_names[0]}{', ...' * (len(row_names) > 1)}"
            notes.append(f"'{path.name}': the first column ({example}) identifies the rows, and is no column of x")
    return Rows(
        LazyRows(parsed.values) if mapped else parsed.values,
        path.name,
        tuple(wanted.columns[number] for number in wanted.x) if first.names else None,
        None if wanted.label is None else _label(parsed.cells[wanted.label], dialect.cells),
        parsed.lines,
        place="line",
        names=row_names,
        id_column=None if wanted.row_id is None else wanted.columns[wanted.row_id],
        others={wanted.columns[number]: _label(parsed.cells[number], dialect.cells) for number in wanted.others},
        bad=parsed.bad,
        notes=tuple(notes),
    )


def write(
    path: Path,
    parts: Iterable[NDArray[Any]],
    num: int,
    columns: Sequence[str] | None,
    names: Sequence[str] | None = None,
    id_column: str = "",
) -> None:
    """Write rows ``(N, D)``, each number with the fewest digits that reproduce it; `names` as the first column."""
    with open_for_writing(path) as file:
        writer = csv.writer(
            file, delimiter="\t" if plain_suffix(path) in (".tsv", ".tab") else ",", lineterminator="\n"
        )
        if columns is not None:
            writer.writerow(columns if names is None else [id_column, *columns])
        start = 0
        for values in parts:
            rows = values.astype(str).tolist()
            if names is not None and columns is not None:
                rows = [[name, *row] for name, row in zip(names[start : start + len(rows)], rows, strict=True)]
            writer.writerows(rows)
            start += len(rows)


def columns_of_x(path: Path, choice: Choice) -> tuple[list[int], bool]:
    """Return the numbers of the columns of x among all columns, and whether the file has a header."""
    wanted, _, first = _wanted(path, choice)
    return list(wanted.x), first.names is not None


def options_like(path: Path, columns: Sequence[str] | None, trained: TextOptions) -> TextOptions:
    """Return how a new file is written, of which `columns` are the names of training, written as `trained` states.

    The delimiter and the decimal mark are found out anew; those of training are used where they are in doubt. The first
    line is a header if it has all the names of training, which may be numbers.
    """
    open_options = TextOptions(missing=trained.missing)
    try:
        dialect = find_dialect(path, open_options)
    except DialectError:
        open_options = TextOptions(None, trained.delimiter, trained.decimal, trained.encoding, trained.missing)
        dialect = find_dialect(path, open_options)
    has_names = bool(columns) and {*(columns or ())} <= {*first_cells(path, dialect)}
    return replace(open_options, header=True if has_names else trained.header if columns is None else None)


def _wanted(path: Path, choice: Choice) -> tuple[Wanted, Dialect, FirstLines]:
    """Return the columns to read, how the file is written, and its first lines."""
    dialect = find_dialect(path, choice.text)
    first = read_first_lines(path, dialect, choice.text.header)
    row_id = first.row_id()
    if row_id is not None and choice.uses(first.columns[row_id]):
        row_id = None
    without_id = choice if row_id is None else replace(choice, exclude=(*choice.exclude, first.columns[row_id]))
    x, label = select_columns(path.name, first.columns, without_id)
    others = select_others(path.name, first.columns, choice.others)
    if choice.id is not None:
        [row_id] = select_others(path.name, first.columns, (choice.id,), "id")
    return Wanted(first.columns, x, label, row_id, others, is_given=choice.columns is not None), dialect, first


def _label(cells: Sequence[str], reader: CellReader) -> NDArray[Any]:
    """Return labels as integers or numbers if all cells that are not missing are, otherwise as strings.

    A missing label is None, among fractions NaN.
    """
    present = [cell for cell in cells if not reader.is_missing_label(cell)]
    plain = [cell.replace(",", ".") if reader.decimal == "," else cell for cell in present]
    if all(is_whole(cell) and abs(int(cell)) <= _MAX_INT for cell in plain):
        values: list[Any] = [None if reader.is_missing_label(cell) else int(cell) for cell in cells]
        return np.array(values, np.int64 if len(present) == len(cells) else object)
    if all(is_number(cell) for cell in plain):
        numbers = (reader.number(cell) for cell in cells)
        return np.array([np.nan if number is None else number for number in numbers])
    labels = np.array([None if reader.is_missing_label(cell) else cell.strip() for cell in cells], object)
    return labels if len(present) < len(cells) else labels.astype(str)
