"""Whether the first line of a text table names its columns, and whether the first column numbers its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aeframe.data.tables.cells import TRUTH, CellReader, is_number, is_whole
from aeframe.data.tables.dialect import NUM_COMPARED, Dialect, rows_of_cells
from aeframe.errors import AeframeError

_NUM_FEW = 5
"""With fewer lines below the first one, other numbers than its are no evidence for a header."""
_PANDAS_INDEX = "Unnamed: 0"
"""The name that pandas gives to a column without a name."""


@dataclass(frozen=True, slots=True)
class FirstLines:
    """The first lines of a text table."""

    names: list[str] | None
    """The names of the columns; None if the first line is a row."""
    rows: list[list[str]]
    """The cells of the rows."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns, or their numbers."""
        return self.names or [str(number) for number in range(len(self.rows[0]))]

    def truth_columns(self, numbers: Sequence[int]) -> list[str]:
        """Return the names of those columns that hold truth values, by their `numbers`."""
        return [
            self.columns[number]
            for number in numbers
            if any(number < len(row) and row[number].strip().lower() in TRUTH for row in self.rows)
        ]

    def row_id(self) -> int | None:
        """Return the number of the column that pandas writes to identify rows: the first one, if it has no name.

        Its cells are whole numbers or words; fractions without a name remain a column of x.
        """
        if not self.names or len(self.names) < 2 or self.names[0] not in ("", _PANDAS_INDEX):
            return None
        cells = [row[0].strip() for row in self.rows]
        if self.names[0] == _PANDAS_INDEX:
            return 0 if all(is_whole(cell) for cell in cells) else None
        return 0 if all(is_whole(cell) or not is_number(cell) for cell in cells) else None


def read_first_lines(path: Path, dialect: Dialect, has_header: bool | None) -> FirstLines:
    """Return the first lines; `has_header` is what the user states, None to find it out.

    The first line is a header if none of its cells is a number, or if a cell is text and all others in its column are
    numbers. A line of numbers is a row, unless it looks like a header, as pandas writes one for columns 0, 1, 2 or
    2019, 2020: this has to be decided by the user.

    Raises:
        AeframeError: The first line can be a header or a row, or there is no row.
    """
    lines: list[list[str]] = []
    for _, cells in rows_of_cells(path, dialect):
        lines.append(cells)
        if len(lines) > NUM_COMPARED:
            break
    if not lines:
        raise AeframeError(f"'{path}' has no rows, expected rows of a table")
    first = [_plain(cell) for cell in lines[0]]
    has_header = _is_header(path, dialect.cells, first, lines[1:]) if has_header is None else has_header
    if has_header and len(lines) == 1:
        raise AeframeError(f"'{path}' has no rows below its header, expected rows of a table")
    return FirstLines(first, lines[1:]) if has_header else FirstLines(None, lines)


def first_cells(path: Path, dialect: Dialect) -> list[str]:
    """Return the cells of the first line, which may be names or numbers."""
    return [_plain(cell) for cell in next((cells for _, cells in rows_of_cells(path, dialect)), [])]


def _plain(cell: str) -> str:
    return cell.strip()


def _is_header(path: Path, reader: CellReader, names: list[str], others: list[list[str]]) -> bool:
    """Return whether the first line names the columns, see `read_first_lines`."""
    if not any(map(reader.is_value, names)):
        return True
    columns = [[row[number].strip() for row in others if number < len(row)] for number in range(len(names))]
    for name, column in zip(names, columns, strict=True):
        values = [reader.is_value(cell) for cell in column if cell]
        if name and not reader.is_value(name) and values and all(values):
            return True
    if not names[0] and len(columns[0]) > 1 and columns[0] == [str(row) for row in range(len(columns[0]))]:
        # Row numbers below an empty cell, as pandas writes them.
        return True
    # Text above text, such as a label, may be a name or a value.
    numeric = [number for number, name in enumerate(names) if not name or reader.finite(name) is not None]
    if _is_doubtful(reader, [names[number] for number in numeric], [columns[number] for number in numeric]):
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise AeframeError(
            f"'{path.name}': the first line ({shown}) can be a header of numbers or a row of them; set data.header to "
            "true or false, or give the columns names that are not numbers"
        )
    return False


def _is_doubtful(reader: CellReader, names: list[str], columns: list[list[str]]) -> bool:
    """Return whether a first line of numbers and empty cells looks like a header, compared with the columns below it.

    It does if its numbers count up by one; with enough lines below also if they are whole and different, and no other
    line is of whole numbers; or if they ascend, and each lies outside the range of its column.
    """
    numbers = [number for name in names if name and (number := reader.finite(name)) is not None]
    if len(numbers) < 2:
        return False
    steps = np.diff(numbers)
    all_whole = all(is_whole(name) for name in names if name)
    if all_whole and (steps == 1).all() and (numbers[0] == 0 or len(numbers) > 2):
        return True
    rows: list[Sequence[str]] = list(zip(*columns, strict=False))
    if len(numbers) < len(names) or len(rows) < _NUM_FEW:
        return False
    if all_whole and len(set(numbers)) == len(names) and not any(all(map(is_whole, row)) for row in rows):
        return True
    if len(numbers) < 3 or not (steps > 0).all():
        return False
    known = [[number for cell in column if (number := reader.finite(cell)) is not None] for column in columns]
    return all(cells and not min(cells) <= number <= max(cells) for number, cells in zip(numbers, known, strict=True))
