"""How a text table is written: `TextOptions`, as far as the user states it, and `Dialect`, found in the file."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aeframe.data.tables.cells import CellReader, has_decimal_comma, has_thousands, is_value
from aeframe.data.tables.compression import READ_ERRORS, open_binary, plain_suffix
from aeframe.data.tables.scan import MAX_LINE_BYTES, Scan, scan_text, unreadable
from aeframe.errors import AeframeError

WHITESPACE = "whitespace"
"""The delimiter of files whose cells are aligned by any number of blanks and tabs."""
NUM_COMPARED = 100
"""Lines from which delimiter, decimal mark and header are found out."""
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'", WHITESPACE: "blanks"}
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)
"""The first line by which Excel states the delimiter."""


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How a text table is written; what is None is found out from its first lines."""

    header: bool | None = None
    """Whether the first line names the columns."""
    delimiter: str | None = None
    """What separates the cells: one character, ``tab`` or ``whitespace``."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark."""
    encoding: str | None = None
    """The encoding, by a name that Python knows."""
    missing: tuple[str | float, ...] = ()
    """Marks for missing values, besides those of `aeframe.data.tables.cells`; numbers are compared by value."""


class DialectError(AeframeError):
    """How a file is written cannot be found out without the user."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text table is written."""

    delimiter: str
    """One character, or `WHITESPACE`."""
    scan: Scan
    """The encoding and the number of lines."""
    num_skipped: int
    """Lines before the table: empty ones, and one that states the delimiter."""
    cells: CellReader
    """Reads the cells as numbers."""
    notes: tuple[str, ...]
    """A sentence for each property that was found out and is not the usual one."""


def find_dialect(path: Path, options: TextOptions) -> Dialect:
    """Return how a text table is written: as `options` state it, and otherwise as its first lines show.

    Raises:
        DialectError: The first lines fit two delimiters or decimal marks.
        AeframeError: The file cannot be read or has no rows, or an option has no valid value.
    """
    scan = scan_text(path, options.encoding)
    notes = [] if scan.note is None else [scan.note + "; set data.encoding if it is another"]
    if scan.encoding.startswith(("utf-16", "utf-32")) and options.encoding is None:
        notes.append(f"'{path.name}' was read as {scan.encoding.upper()}")
    usual = "\t" if plain_suffix(path) in (".tsv", ".tab") else ","
    num_skipped, lines = _first_lines(path, scan)
    stated = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    if stated is not None:
        num_skipped, lines = num_skipped + 1, lines[1:]
    if not lines:
        raise AeframeError(f"'{path}' has no rows, expected rows of a table")
    if options.delimiter is not None:
        delimiter = _delimiter_of(options.delimiter)
    elif stated is not None:
        delimiter = stated[1]
        notes.append(f"'{path.name}': the first line states that cells are separated by {_named(delimiter)}")
    else:
        delimiter = _find_delimiter(path, lines, usual)
        if delimiter != usual:
            notes.append(f"'{path.name}': cells are separated by {_named(delimiter)}")
    decimal = options.decimal or _find_decimal(path, lines, delimiter)
    if decimal == "," and options.decimal is None:
        notes.append(f"'{path.name}': numbers have a decimal comma")
    return Dialect(delimiter, scan, num_skipped, CellReader(decimal, options.missing), tuple(notes))


def rows_of_cells(path: Path, dialect: Dialect) -> Generator[tuple[int, list[str]], None, None]:
    """Yield the cells of each line that is not empty, with the number of the (last) line of the row, from 1.

    Raises:
        AeframeError: The file is damaged, or a quotation mark is not closed.
    """
    with closing(rows_of_text(path, dialect)) as rows:
        for line, cells, _ in rows:
            if cells:
                yield line, cells


def rows_of_text(path: Path, dialect: Dialect) -> Generator[tuple[int, list[str], list[str]], None, None]:
    """Yield for each row the number of its (last) line, its cells, and its lines as they are in the file.

    Empty lines, and lines before the table, have no cells.

    Raises:
        AeframeError: As `rows_of_cells`.
    """
    with closing(_lines(path, dialect.scan)) as lines:
        for number in range(dialect.num_skipped):
            yield number + 1, [], [next(lines)]
        record = _Record(lines)
        reader = _reader(record, dialect.delimiter)
        while True:
            start, record.text = reader.line_num, []
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise AeframeError(
                    f"'{path.name}', line {start + dialect.num_skipped + 1} cannot be read ({error}); look for a "
                    "quotation mark that is not closed"
                ) from None
            if len(record.text) > 1 and "".join(record.text).count('"') % 2:
                raise AeframeError(
                    f"'{path.name}', line {start + dialect.num_skipped + 1} has a quotation mark that is not closed; "
                    "close or remove it"
                )
            yield reader.line_num + dialect.num_skipped, row, record.text


def delimiter_hint(first: str, delimiter: str) -> str:
    """Return the advice for a line that has one cell, which contains another delimiter; otherwise nothing."""
    other = next((one for one in (";", "\t", "|", ",") if one != delimiter and one in first), None)
    return "" if other is None else f"; its cells seem to be separated by {_named(other)}"


class _Record:
    """Lines as `csv` reads them; `text` has those of the current row."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.text: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.text.append(line)
        return line


def _reader(lines: Iterator[str] | _Record, delimiter: str) -> Any:
    if delimiter == WHITESPACE:
        blanks = (line.replace("\t", " ").strip() + "\n" for line in lines)
        # An empty line stays one without cells.
        return csv.reader((line if line != " \n" else "\n" for line in blanks), delimiter=" ", skipinitialspace=True)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != " ")


def _lines(path: Path, scan: Scan) -> Generator[str, None, None]:
    """Yield the lines of a file with their ends."""
    try:
        with open_binary(path) as file, io.TextIOWrapper(file, encoding=scan.encoding, newline="") as text:
            while line := text.readline(MAX_LINE_BYTES):
                yield line
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise unreadable(path, error) from None


def _first_lines(path: Path, scan: Scan) -> tuple[int, list[str]]:
    """Return the number of empty lines at the beginning, and the first lines that are not empty."""
    with closing(_lines(path, scan)) as lines:
        num_empty = 0
        for line in lines:
            if line.strip():
                others = (other for other in lines if other.strip())
                return num_empty, [line, *itertools.islice(others, NUM_COMPARED)]
            num_empty += 1
    return num_empty, []


def _delimiter_of(option: str) -> str:
    """Return the delimiter that an option states.

    Raises:
        AeframeError: It is not one character or one of the two words.
    """
    delimiter = {"tab": "\t", "\\t": "\t", " ": WHITESPACE}.get(option, option)
    if delimiter != WHITESPACE and (len(delimiter) != 1 or delimiter in '\r\n"'):
        raise AeframeError(f"data.delimiter is '{option}', expected one character, tab or {WHITESPACE}")
    return delimiter


def _named(delimiter: str) -> str:
    return _NAMES.get(delimiter, f"'{delimiter}'")


def _cells(lines: list[str], delimiter: str) -> list[list[str]]:
    """Return the cells of the first lines; the last row may be cut off within quotation marks."""
    try:
        rows = [row for row in _reader(iter(lines), delimiter) if row]
    except csv.Error:
        return []
    return rows[:-1] if len(rows) > 1 and sum(line.count('"') for line in lines) % 2 else rows


def _find_delimiter(path: Path, lines: list[str], usual: str) -> str:
    """Return the delimiter that divides all lines into as many cells, at least two, of which most are values.

    Raises:
        DialectError: Two delimiters do so equally well.
    """
    others = [delimiter for delimiter in (",", ";", "\t", "|", WHITESPACE) if delimiter != usual]
    cells = {delimiter: _cells(lines, delimiter) for delimiter in (usual, *others)}
    widths = {delimiter: {len(row) for row in rows} for delimiter, rows in cells.items()}
    fitting = [delimiter for delimiter in cells if len(widths[delimiter]) == 1 and widths[delimiter] != {1}]
    if fitting:
        shares = {delimiter: _share_of_values(cells[delimiter], delimiter) for delimiter in fitting}
        best = [delimiter for delimiter in fitting if shares[delimiter] == max(shares.values())]
        # Tabs are blanks too.
        best = [delimiter for delimiter in best if delimiter != WHITESPACE] or best
        if len(best) == 1 or usual in best or not max(shares.values()):
            return usual if usual in best else best[0]
        raise DialectError(
            f"'{path.name}': cells can be separated by {' or by '.join(_named(each) for each in best)}; set "
            f"data.delimiter, such as data.delimiter='{best[0]}'"
        )
    if widths[usual] == {1} or len(cells[usual][0] if cells[usual] else ()) > 1:
        # One column, or rows of different lengths, which are refused with their lines.
        return usual
    return next((each for each in others if cells[each] and len(cells[each][0]) > 1 and each != WHITESPACE), usual)


def _share_of_values(rows: list[list[str]], delimiter: str) -> float:
    """Return the share of cells that are numbers or marks for missing values, without the first line."""
    cells = [cell for row in rows[1:] or rows for cell in row]
    has_commas = delimiter != ","
    return sum(not cell or is_value(cell) or (has_commas and has_decimal_comma(cell)) for cell in cells) / len(cells)


def _find_decimal(path: Path, lines: list[str], delimiter: str) -> Literal[".", ","]:
    """Return the decimal mark of the numbers in the first lines.

    Raises:
        DialectError: A comma can be a decimal mark or separate thousands.
    """
    cells = [cell.strip() for row in _cells(lines, delimiter) for cell in row]
    commas = [cell for cell in cells if has_decimal_comma(cell)]
    if not commas or any("." in cell and is_value(cell) for cell in cells):
        return "."
    if all(has_thousands(cell) for cell in commas):
        raise DialectError(
            f"'{path.name}': the comma in '{commas[0]}' can be a decimal mark or separate thousands; set "
            "data.decimal to ',' or '.', and remove separators of thousands"
        )
    return ","
