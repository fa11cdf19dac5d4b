"""`MetricTable`: values of the parts of a sample, such as the columns of a table, channels of a series or genes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Cell = str | int | float


@dataclass(frozen=True, slots=True)
class MetricTable:
    """Values of P parts of a sample, which a metric computes besides its scalars; a run writes them as CSV.

    A part is what the field names it: a column, a channel, a gene.
    """

    columns: Mapping[str, Sequence[Cell]]
    """P values by heading; the first are the names of the parts."""
    summary: str = ""
    """What the table shows, in one sentence, which stands for the table where there is no room for it."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """Return the values of each part, in the order of the headings."""
        return zip(*self.columns.values(), strict=True)

    def to_csv(self) -> str:
        """Return the table as CSV with a header; numbers have 6 significant digits, and NaN is an empty cell."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([as_text(cell) for cell in row] for row in self.rows())
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str) -> MetricTable:
        """Return the table of a CSV as `to_csv` returns it; all cells are strings."""
        header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
        return cls({name: [row[at] if at < len(row) else "" for row in rows] for at, name in enumerate(header)})

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON: a list for each heading."""
        return {name: [None if cell != cell else cell for cell in cells] for name, cells in self.columns.items()}


def as_text(cell: Cell) -> str:
    """Return a cell as text, see `MetricTable.to_csv`."""
    if isinstance(cell, float):
        return "" if cell != cell else f"{cell:.6g}"
    return str(cell)
