"""`parse`: the rows of a text table as numbers, by pandas where it is safe, and otherwise cell by cell."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from packaging.version import Version

from aeframe.data.limits import check_memory
from aeframe.data.tables.cells import MISSING, MISSING_NUMBERS, is_whole, problem_of, shown
from aeframe.data.tables.compression import READ_ERRORS, open_binary
from aeframe.data.tables.dialect import WHITESPACE, Dialect, delimiter_hint, rows_of_cells
from aeframe.data.tables.rows import pasted
from aeframe.errors import AeframeError

_SPELLINGS = sorted(
    {"NaN"} | {form for name in MISSING | MISSING_NUMBERS for form in (name, name.upper(), name.title())}
)
"""Spellings of missing values that pandas recognises; files with other ones are parsed cell by cell."""
_WIDE = 2000
"""Columns from which on parsing by row is faster than pandas, whose work for each column weighs more."""
_ROWS_OF_PANDAS = 1 << 16
_BYTES = 8
_VALUES_AT_A_TIME = 1 << 20
_MAX_SHOWN = 6
"""Columns that an error message describes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns of a text table that are read, by their numbers."""

    columns: list[str]
    """Names of all columns."""
    x: list[int]
    label: int | None
    row_id: int | None
    others: list[int]
    is_given: bool
    """Whether the columns of x were chosen by name."""

    @property
    def text(self) -> list[int]:
        """Numbers of the columns that are returned as text."""
        return sorted({*self.others, *(number for number in (self.label, self.row_id) if number is not None)})


@dataclass(slots=True)
class Parsed:
    """The rows of a text table."""

    values: NDArray[np.float64]
    """``(N, D)``"""
    cells: Mapping[int, Sequence[str]]
    """The cells of each column that is returned as text, by its number."""
    lines: NDArray[np.int64]
    """``(N,)`` number of the line of each row."""
    bad: dict[int, str] = field(default_factory=dict)
    """A sentence for each row with a cell that holds no number, or of another length, by the row's number; its values
    are NaN."""
    notes: list[str] = field(default_factory=list)


def parse(path: Path, wanted: Wanted, dialect: Dialect, *, has_header: bool, keep_bad: bool) -> Parsed:
    """Parse all rows.

    pandas parses the file. Where it fails, or where its result could differ from Python's own `csv` and `float`, the
    file is parsed again cell by cell, which names the line and column of an error.

    Args:
        path: The file.
        wanted: The columns to read.
        dialect: How the file is written.
        has_header: Whether the first line names the columns.
        keep_bad: Return rows with a cell that holds no number, as `Parsed.bad`, instead of raising an error.

    Raises:
        AeframeError: A row has another length, or a cell of x holds no number.
    """
    num_rows = max(1, dialect.scan.num_lines - has_header)
    check_memory(f"'{path.name}'", _BYTES * num_rows * len(wanted.x), f"{num_rows} rows of {len(wanted.x)} numbers")
    parsed = None if len(wanted.columns) > _WIDE else _parse_fast(path, wanted, dialect, has_header=has_header)
    if parsed is None:
        parsed = _ByCell(path, wanted, dialect, keep_bad=keep_bad).parse(has_header=has_header)
    dialect.cells.without_marks(parsed.values)
    largest, num_missing = _largest_and_missing(parsed)
    _check_whole_numbers(path, wanted, dialect, largest)
    if num_missing:
        parsed.notes.append(f"'{path.name}': {num_missing} of {parsed.values.size} numbers are missing")
    return parsed


def _parse_fast(path: Path, wanted: Wanted, dialect: Dialect, *, has_header: bool) -> Parsed | None:
    """Parse with pandas; None where the result could differ from that of `_ByCell`."""
    import pandas as pd

    if not dialect.scan.is_simple:
        return None
    width, text = len(wanted.columns), wanted.text
    options: dict[str, Any] = {"sep": r"\s+"} if dialect.delimiter == WHITESPACE else {"sep": dialect.delimiter}
    if Version(pd.__version__) < Version("3.1"):
        # Since 3.1 the default is as exact, and the option deprecated.
        options["float_precision"] = "round_trip"
    num_before = dialect.num_skipped + has_header
    num_rows = dialect.scan.num_lines - num_before
    values, start, has_gaps = np.empty((num_rows, len(wanted.x))), 0, False
    cells: dict[int, list[str]] = {number: [] for number in text}
    spellings = [*_SPELLINGS, *dialect.cells.words]
    marks: Any = dict.fromkeys(wanted.x, spellings)
    types: Any = dict.fromkeys(range(width), object) | dict.fromkeys(wanted.x, np.float64)
    try:
        with (
            open_binary(path) as file,
            pd.read_csv(
                file,
                header=None,
                skiprows=num_before,
                dtype=types,
                na_values=marks,
                keep_default_na=False,
                decimal=dialect.cells.decimal,
                encoding=dialect.scan.encoding,
                skipinitialspace=dialect.delimiter != WHITESPACE,
                index_col=False,
                chunksize=_ROWS_OF_PANDAS,
                low_memory=False,
                **options,
            ) as reader,
        ):
            for block in reader:
                stop = start + len(block)
                if stop > num_rows or block.shape[1] != width:
                    return None
                values[start:stop] = block[wanted.x].to_numpy(np.float64)
                for number in text:
                    cells[number] += block[number].tolist()
                # pandas fills up a row that is too short with missing values.
                last = block[width - 1]
                has_gaps = has_gaps or bool((last.isna() | (last == "")).any())
                start = stop
    except (ValueError, *READ_ERRORS):
        return None
    if start != num_rows or (has_gaps and not _has_width(path, dialect, width)):
        return None
    lines = np.arange(num_before + 1, dialect.scan.num_lines + 1)
    return Parsed(values, cells, lines)


class _ByCell:
    """Parses with `csv` and `float`, and keeps track of the cells that hold no number."""

    def __init__(self, path: Path, wanted: Wanted, dialect: Dialect, *, keep_bad: bool) -> None:
        self.path, self.wanted, self.dialect, self.keep_bad = path, wanted, dialect, keep_bad
        self.pick = itemgetter(*wanted.x) if len(wanted.x) > 1 else lambda cells: (cells[wanted.x[0]],)
        self.is_plain = dialect.cells.decimal == "." and not dialect.scan.has_underscores
        self.values, self.lines = array("d"), array("q")
        self.cells: dict[int, list[str]] = {number: [] for number in wanted.text}
        self.first_bad: dict[int, tuple[int, str]] = {}
        """Line and content of the first cell that holds no number, by the position of its column in x."""
        self.num_bad: dict[int, int] = {}
        self.bad: dict[int, str] = {}

    def parse(self, *, has_header: bool) -> Parsed:
        with closing(rows_of_cells(self.path, self.dialect)) as rows:
            if has_header:
                next(rows)
            for line, cells in rows:
                self._add(line, cells)
        num = len(self.lines)
        self._check_columns(num)
        values = np.frombuffer(self.values, np.float64).reshape(num, len(self.wanted.x)) if num else np.empty((0, 0))
        return Parsed(values, self.cells, np.frombuffer(self.lines, np.int64), self.bad)

    def _add(self, line: int, cells: list[str]) -> None:
        width = len(self.wanted.columns)
        if len(cells) != width:
            hint = delimiter_hint(cells[0], self.dialect.delimiter) if width == 1 else ""
            sentence = (
                f"{self.path.name}, line {line}: the row has {len(cells)} cells, expected {width} as above it{hint}"
            )
            if not self.keep_bad:
                raise AeframeError(sentence)
            self.bad[len(self.lines)] = sentence
            cells = [""] * width
        start = len(self.values)
        picked = self.pick(cells)
        if self.is_plain:
            try:
                self.values.extend(map(float, picked))
            except ValueError:
                del self.values[start:]
        if len(self.values) == start:
            self.values.extend(self._numbers(line, picked))
        for number, column in self.cells.items():
            column.append(cells[number])
        self.lines.append(line)

    def _numbers(self, line: int, picked: Sequence[str]) -> Iterator[float]:
        """Yield the numbers in the cells of x of one row, NaN for a cell that holds none."""
        read = self.dialect.cells.number
        for position, cell in enumerate(picked):
            number = read(cell)
            if number is None:
                self.first_bad.setdefault(position, (line, cell))
                self.num_bad[position] = self.num_bad.get(position, 0) + 1
                name = self.wanted.columns[self.wanted.x[position]]
                self.bad.setdefault(
                    len(self.lines),
                    f"{self.path.name}, line {line}, column '{name}': {problem_of(cell)} is not a number",
                )
                number = float("nan")
            yield number

    def _check_columns(self, num_rows: int) -> None:
        """Raise AeframeError for cells that hold no number, with all of their columns.

        Rows with such cells may be kept, unless a column has more of them than numbers: it is a column of words.
        """
        # Without a header the first line may have been taken for a row.
        words = [position for position, count in self.num_bad.items() if 2 * count > num_rows]
        if not self.first_bad or (self.keep_bad and not words):
            return
        names = {position: self.wanted.columns[self.wanted.x[position]] for position in sorted(self.first_bad)}
        first = next(iter(names))
        line, cell = self.first_bad[first]
        if len(names) == 1 and not words:
            found = f"{self.path.name}, line {line}, column '{names[first]}': {problem_of(cell)} is not a number"
            others = f" ({self.num_bad[first]} such cells)" if self.num_bad[first] > 1 else ""
            found += others
        else:
            examples = [
                f"{shown(name)} ({problem_of(self.first_bad[position][1])} in line {self.first_bad[position][0]})"
                for position, name in [*names.items()][:_MAX_SHOWN]
            ]
            more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
            found = f"'{self.path.name}' has {len(names)} columns that are no numbers: {', '.join(examples)}{more}"
            if len(names) == 1:
                found = f"'{self.path.name}': column {examples[0]} holds no numbers"
        if self.wanted.is_given:
            raise AeframeError(f"{found}; correct the cells, or choose other columns")
        them = "it" if len(names) == 1 else "them"
        raise AeframeError(
            f"{found}; leave {them} out with data.exclude={pasted(names.values())}, use a "
            "column as data.label or data.id, or name marks for missing values with data.missing"
        )


def _largest_and_missing(parsed: Parsed) -> tuple[NDArray[np.float64], int]:
    """Return the largest absolute value of each column ``(D,)``, and how many numbers of good rows are missing."""
    values = parsed.values
    largest, num_missing = np.zeros(values.shape[1]), 0
    size = max(1, _VALUES_AT_A_TIME // max(1, values.shape[1]))
    for start in range(0, len(values), size):
        block = values[start : start + size]
        largest = np.fmax(largest, np.fmax.reduce(np.abs(block), axis=0))
        num_missing += int(np.isnan(block).sum())
    bad = np.array([*parsed.bad], np.int64)
    return largest, num_missing - int(np.isnan(values[bad]).sum())


def _check_whole_numbers(path: Path, wanted: Wanted, dialect: Dialect, largest: NDArray[np.float64]) -> None:
    """Raise AeframeError for columns of whole numbers beyond 2**53, which are identifiers and would be rounded."""
    suspects = np.flatnonzero(largest >= 2.0**53).tolist()
    if not suspects:
        return
    numbers = {wanted.x[position] for position in suspects}
    found: dict[int, tuple[int, str]] = {}
    with closing(rows_of_cells(path, dialect)) as rows:
        for line, cells in rows:
            for number in numbers - found.keys():
                if number < len(cells) and is_whole(cells[number]) and abs(int(cells[number])) > 2**53:
                    found[number] = line, cells[number].strip()
    raise_for_large_integers(
        path, {wanted.columns[number]: f"{cell} in line {line}" for number, (line, cell) in sorted(found.items())}
    )


def raise_for_large_integers(path: Path, found: Mapping[str, str]) -> None:
    """Raise AeframeError if there are whole numbers beyond 2**53; `found` has an example for each column."""
    if not found:
        return
    shown = ", ".join(f"'{name}' ({example})" for name, example in [*found.items()][:_MAX_SHOWN])
    raise AeframeError(
        f"'{path.name}': whole numbers beyond 2**53 cannot be stored exactly, and are identifiers rather than values: "
        f"{'columns' if len(found) > 1 else 'column'} {shown}; leave {'them' if len(found) > 1 else 'it'} out with "
        f"data.exclude={pasted(found)}, use one as data.id, or write the values with a decimal point"
    )


def _has_width(path: Path, dialect: Dialect, width: int) -> bool:
    """Return whether every row has `width` cells."""
    with closing(rows_of_cells(path, dialect)) as rows:
        return all(len(cells) == width for _, cells in rows)
