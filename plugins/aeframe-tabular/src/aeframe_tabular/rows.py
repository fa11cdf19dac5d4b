"""`TableRows` and `TableSplits`: typed rows of a table, as datasets return them to the modality."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import pandas as pd
from torch import Tensor

from aeframe_tabular.column import Column
from aeframe_tabular.reading import TableOptions
from aeframe_tabular.roles import Roles


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of a table: a typed frame of all used columns (see `aeframe_tabular.column`), or a frame as it was read."""

    frame: pd.DataFrame
    label: Tensor | None = None
    """``(N,)`` int64: labels that are no column of the frame, -1 for missing ones."""

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self, index: Tensor) -> Self:
        """Return the rows at `index` ``(n,)``."""
        return type(self)(self.frame.iloc[index.numpy()], None if self.label is None else self.label[index])


@dataclass(frozen=True, slots=True)
class TableSplits:
    """The typed rows of each split, and all columns of the file."""

    train: TableRows
    validation: TableRows
    test: TableRows
    columns: tuple[Column, ...]
    """All columns in the order of the file, also those that are left out."""
    roles: Roles
    options: TableOptions
    """How the file is written, as far as it was stated or found out."""
    skipped: list[str] = field(default_factory=list)
    """One sentence for each bad row that was left out."""
