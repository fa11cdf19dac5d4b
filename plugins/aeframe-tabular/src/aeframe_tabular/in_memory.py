"""The dataset ``table_in_memory``: a data frame of mixed types that a program has in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from aeframe.data.in_memory import MemoryDataset, SampleSplits
from aeframe.data.samples import as_array, is_frame
from aeframe.data.split_record import SPLITS
from aeframe.data.vector_in_memory import is_numeric
from aeframe_tabular.column import Column, Kind
from aeframe_tabular.inference import infer_columns
from aeframe_tabular.reading import RawTable, TableOptions, frame_of
from aeframe_tabular.roles import Roles, with_index
from aeframe_tabular.rows import TableRows, TableSplits
from aeframe_tabular.typed import typed_frame


class TableInMemory(MemoryDataset):
    """A data frame of pandas or polars with columns of any type; the kind of each is inferred as in a file.

    ``y`` and ``condition`` may be names of its columns, which are then not part of x.

    Args:
        samples: The samples by split, injected.
        kinds: The kind of a column by its name, where another than the inferred one is wanted.
        date_formats: The format of the dates of a column by its name, such as ``%d/%m/%Y``; others are found.
        day_first: Whether the day is before the month in dates such as 1/2/2021; null finds it, and raises an error if
            both orders fit all dates of a column.
        id: The column that identifies the rows; null selects the first column of kind ``id``.
        validation: Fraction of the rows for validation, if no validation split was passed.
        test: Fraction of the rows for testing, if no test split was passed.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "table"
    noun: ClassVar[str] = "rows"

    def __init__(
        self,
        samples: SampleSplits,
        *,
        kinds: Mapping[str, Kind] = {},
        date_formats: Mapping[str, str] = {},
        day_first: bool | None = None,
        id: str | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        super().__init__(samples, validation=validation, test=test, split_seed=split_seed)
        raw = RawTable(self._raw["train"].frame, "x")
        self.columns: tuple[Column, ...] = infer_columns(
            raw, kinds=kinds, date_formats=date_formats, day_first=day_first
        )
        self.roles = Roles.of("x", self.columns, id=id, label=None, condition=())

    @staticmethod
    def accepts(x: Any) -> bool:
        """Return whether x is a data frame with a column that is neither numbers nor truth values."""
        return is_frame(x) and not all(is_numeric(as_array(x[name])) for name in x.columns)

    def read(self, x: Any, labels: Tensor | None) -> TableRows:
        return TableRows(frame_of(x, origin="x").frame, labels)

    def describe_raw(self, train: TableRows) -> Mapping[str, Any]:
        return {"columns": self.columns, "roles": self.roles}

    def raw_splits(self, splits: Mapping[str, Any]) -> TableSplits:
        rows = {split: self._typed(raw) for split, raw in splits.items()}
        for note in self.roles.notes(self.columns):
            self.notes.add(note)
        train, validation, test = (rows[split] for split in SPLITS)
        return TableSplits(train, validation, test, self.columns, self.roles, TableOptions())

    def _typed(self, raw: TableRows) -> TableRows:
        typed = typed_frame(RawTable(raw.frame, "x"), self.columns, who="x")
        return TableRows(with_index(typed, raw.frame, self.roles.id), raw.label)
