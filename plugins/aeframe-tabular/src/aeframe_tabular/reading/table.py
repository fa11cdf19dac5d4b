"""`TableOptions` (how a table is written and what is read of it) and `RawTable` (its cells, with names and notes)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.data.tables import TextOptions


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How a table is written, and what is read of it; what is None is found out."""

    delimiter: str | None = None
    """What separates the cells of a text table: one character, ``tab`` or ``whitespace``."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark of a text table."""
    encoding: str | None = None
    """The encoding of a text table, by a name of Python."""
    header: bool | None = None
    """Whether the first line of a text table or of a sheet names the columns."""
    missing: tuple[str | float, ...] = ()
    """Marks for missing cells, besides those of `aeframe.data.tables.cells`; numbers are compared by value."""
    sheet: str | None = None
    """The sheet of an Excel file; None for the only one."""
    query: str | None = None
    """A query of a SQLite file, in SQL."""
    table: str | None = None
    """A table or view of a SQLite file; None for the only one."""
    columns: tuple[str, ...] | None = None
    """Names of the columns that are read, in this order; None for all."""
    exclude: tuple[str, ...] = ()
    """Names of columns that are not read."""

    def of_text(self) -> TextOptions:
        """Return how a text table is written, as far as it is stated."""
        return TextOptions(self.header, self.delimiter, self.decimal, self.encoding, self.missing)


@dataclass(slots=True)
class RawTable:
    """The cells of a table, not yet interpreted.

    The dtypes of `frame` are those of numpy for integers, floats, booleans and times, their nullable ones of pandas
    where integers or booleans are missing, ``string[pyarrow]`` for text, and `pandas.CategoricalDtype`.
    """

    frame: pd.DataFrame
    """N rows; the index is what identifies the rows in the file, or 0 to N - 1."""
    origin: str = "the table"
    """The name of the file in error messages."""
    notes: list[str] = field(default_factory=list)
    """What was found out, guessed or changed while the table was read."""
    bad: dict[int, str] = field(default_factory=dict)
    """A sentence for each row that was left out, by the number of its line or row."""
    place: Literal["row", "line"] = "row"
    """What error messages count: lines of a text table from 1, rows of a sheet from 1, other rows from 0."""
    number_of: Callable[[int], int] = int
    """Returns the number of a row of the file, given its index among those that were parsed."""
    options: TableOptions = TableOptions()
    """How the table is written, as far as it was stated or found out."""
    positions: NDArray[np.int64] | None = None
    """``(N,)`` the argument of `number_of` for each row; None for 0 to N - 1."""

    def where(self, row: int, column: str | None = None) -> str:
        """Return how error messages name a row or cell: ``"adult.csv, line 7, column 'age'"``."""
        position = row if self.positions is None else int(self.positions[row])
        place = f"{self.origin}, {self.place} {self.number_of(position)}"
        return place if column is None else f"{place}, column '{column}'"

    def kept(self, mask: NDArray[np.bool_], frame: pd.DataFrame | None = None) -> RawTable:
        """Return the rows where `mask` ``(N,)`` is True, of this frame or of another one with the same rows."""
        old = np.arange(len(self.frame)) if self.positions is None else self.positions
        chosen: Any = (self.frame if frame is None else frame)[mask]
        if _is_counted(self.frame.index):
            chosen = chosen.reset_index(drop=True)
        return replace(self, frame=chosen, positions=old[mask])


def _is_counted(index: Any) -> bool:
    """Return whether an index counts the rows, and identifies nothing."""
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None
