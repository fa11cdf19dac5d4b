"""Copy a text table with other values in some cells, and everything else as it is: `write_filled_text`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from aeframe.data.new_output import removed_after_error
from aeframe.data.tables.compression import open_for_writing
from aeframe.data.tables.dialect import WHITESPACE, Dialect, rows_of_text

_CELL = re.compile(r"\S+")


def write_filled_text(
    original: Path,
    path: Path,
    dialect: Dialect,
    cells: Iterable[tuple[int, Mapping[int, str]]],
    *,
    has_header: bool,
    skipped: Container[int] = (),
) -> None:
    """Write a text table as a new file in UTF-8, compressed as its suffix states, with some cells replaced.

    Other cells keep their quotation marks and blanks.

    Args:
        original: The table.
        path: The new file.
        dialect: How both are written.
        cells: For rows in ascending order, from 0, the new cells by the number of their column.
        has_header: Whether the first line that is not empty names the columns, and is no row.
        skipped: The numbers of lines that are not counted as rows.
    """
    waiting = iter(cells)
    row, new = next(waiting, (-1, {}))
    position = -int(has_header)
    with open_for_writing(path) as file, removed_after_error(path), closing(rows_of_text(original, dialect)) as lines:
        for line, present, text in lines:
            is_row = bool(present) and line not in skipped
            if is_row and position == row:
                text = [_replaced("".join(text), present, new, dialect.delimiter)]
                row, new = next(waiting, (-1, {}))
            file.writelines(text)
            position += is_row
    if row >= 0:
        raise ValueError(f"'{original.name}' has {position} rows, found new cells for row {row}")


def _replaced(text: str, cells: list[str], new: Mapping[int, str], delimiter: str) -> str:
    """Return the text of a row whose `cells` are known, with new ones by the number of their column."""
    body = text.rstrip("\r\n")
    ending = text[len(body) :]
    if delimiter == WHITESPACE and '"' not in body:
        quoted = {number: _written([cell], delimiter) for number, cell in new.items()}
        numbers = iter(range(len(cells)))
        return _CELL.sub(lambda match: quoted.get(next(numbers), match[0]), body) + ending
    parts = _parts(body, delimiter)
    if len(parts) != len(cells):
        # Blanks between cells, or a quotation mark in the middle of a cell.
        return _written([new.get(number, cell) for number, cell in enumerate(cells)], delimiter) + ending
    return delimiter.join(_in_place(parts, new, delimiter)) + ending


def _parts(body: str, delimiter: str) -> list[str]:
    """Return the cells of a row as they are written, with blanks and quotation marks."""
    if '"' not in body:
        return body.split(delimiter)
    cell = re.compile(rf' *"(?:[^"]|"")*"[^{re.escape(delimiter)}]*|[^{re.escape(delimiter)}]*')
    parts, start = [], 0
    while (match := cell.match(body, start)) is not None and match.end() < len(body):
        parts.append(match[0])
        start = match.end() + 1
    return [*parts, body[start:]]


def _in_place(parts: list[str], new: Mapping[int, str], delimiter: str) -> Iterator[str]:
    """Yield the parts of a line; new ones have the blanks before and after the old ones, unless these are blank."""
    for number, part in enumerate(parts):
        if number not in new:
            yield part
            continue
        word = part.strip()
        before, _, after = part.partition(word) if word else ("", "", "")
        yield before + _written([new[number]], delimiter) + after


def _written(cells: list[str], delimiter: str) -> str:
    """Return the text of cells, in quotation marks where they need them."""
    text = io.StringIO()
    # Cells with characters of the line terminator are put in quotation marks.
    csv.writer(text, delimiter=" " if delimiter == WHITESPACE else delimiter, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")
