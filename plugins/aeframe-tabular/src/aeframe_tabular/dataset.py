"""The dataset ``table``: a table of mixed types in a file of the user."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
import pyarrow as pa

from aeframe.data import Dataset
from aeframe.data.file_samples import OnError
from aeframe.data.random_split import RandomSplit
from aeframe_tabular.column import Column, Kind
from aeframe_tabular.inference import infer_columns
from aeframe_tabular.reading import RawTable, TableOptions, read_frame
from aeframe_tabular.roles import Roles, with_index
from aeframe_tabular.rows import TableRows, TableSplits
from aeframe_tabular.typed import Unknown, typed_frame


class TableFile(Dataset):
    """A table of numbers, categories, dates and missing cells in a file: CSV and other text (also compressed),
    Parquet, Feather, Excel, SQLite or NPZ.

    The kind of each column is inferred from all its values; ``aeframe table FILE`` prints the kinds. Columns of
    identifiers, of free text and of one value are left out, which a run states.

    Args:
        path: The file.
        test_path: A file of test rows; without it a fraction of `path` is held out.
        kinds: The kind of a column by its name, where another than the inferred one is wanted: ``number``,
            ``integer``, ``boolean``, ``category``, ``ordinal``, ``date``, ``id``, ``text``.
        date_formats: The format of the dates of a column by its name, such as ``%d/%m/%Y``; others are found.
        day_first: Whether the day is before the month in dates such as 1/2/2021; null finds it, and raises an error if
            both orders fit all dates of a column.
        columns: The columns that are read, by name; null for all but `exclude`.
        exclude: Columns that are not read, by name.
        id: The column that identifies the rows, which is written beside codes and scores; null selects the first
            column of kind ``id``.
        label: A column of classes that is returned as `Batch.extras` ``label``, for metrics and pictures, and is not
            part of x.
        condition: Columns that encoder and decoder receive as a condition, and that are not part of x: rows are then
            generated for given values of them.
        delimiter: What separates the cells of a text file: one character, ``tab`` or ``whitespace``; null finds it.
        decimal: The decimal mark of a text file; null finds it.
        encoding: The encoding of a text file, such as ``cp1252``; null finds it.
        header: Whether the first line of a text file names the columns; null finds it.
        missing: Marks for missing cells, besides empty cells, blanks, ``?`` and ``NA``.
        sheet: The sheet of an Excel file; null takes the only one.
        query: A query of an SQLite file, in SQL.
        table: A table or view of an SQLite file; null takes the only one.
        on_error: ``raise`` stops at a row with another number of cells, ``skip`` leaves it out and lists it.
        unknown: A class of `test_path` that the training file does not have: ``raise`` stops, ``missing`` takes the
            cell as missing.
        validation: Fraction of the rows for validation.
        test: Fraction of the rows for testing, if there is no test file.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "table"

    def __init__(
        self,
        *,
        path: Path,
        test_path: Path | None = None,
        kinds: Mapping[str, Kind] = {},
        date_formats: Mapping[str, str] = {},
        day_first: bool | None = None,
        columns: tuple[str, ...] | None = None,
        exclude: tuple[str, ...] = (),
        id: str | None = None,
        label: str | None = None,
        condition: tuple[str, ...] = (),
        delimiter: str | None = None,
        decimal: Literal[".", ","] | None = None,
        encoding: str | None = None,
        header: bool | None = None,
        missing: tuple[str | float, ...] = (),
        sheet: str | None = None,
        query: str | None = None,
        table: str | None = None,
        on_error: OnError = "raise",
        unknown: Unknown = "raise",
        validation: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        self.path = Path(path).expanduser()
        self.test_path = None if test_path is None else Path(test_path).expanduser()
        self.options = TableOptions(
            delimiter=delimiter,
            decimal=decimal,
            encoding=encoding,
            header=header,
            missing=missing,
            sheet=sheet,
            query=query,
            table=table,
            columns=columns,
            exclude=exclude,
        )
        self.kinds, self.date_formats, self.day_first = dict(kinds), dict(date_formats), day_first
        self.id, self.label, self.condition_columns = id, label, condition
        self.on_error, self.unknown = on_error, unknown
        self.split = RandomSplit(self.path.name, "rows", validation=validation, test=test, seed=split_seed)
        self._raw: RawTable | None = None
        """The file as it was read, until `load` has used it."""

    def describe(self) -> Mapping[str, Any]:
        return {"columns": self.columns, "roles": self.roles}

    @functools.cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns of the file, with the kinds by which they are used."""
        raw = self._read(self.path)
        return infer_columns(raw, kinds=self.kinds, date_formats=self.date_formats, day_first=self.day_first)

    @functools.cached_property
    def roles(self) -> Roles:
        """What the columns are used for."""
        return Roles.of(self.path.name, self.columns, id=self.id, label=self.label, condition=self.condition_columns)

    def load(self) -> TableSplits:
        columns, roles = self.columns, self.roles
        raw, self._raw = self._read(self.path), None
        for note in (*raw.notes, *roles.notes(columns)):
            self.notes.add(note)
        skipped, options = list(raw.bad.values()), raw.options
        present = {"train": TableRows(self._typed(raw, "raise"))}
        del raw
        # The pool of pyarrow keeps freed columns, as much memory as the table, which the splits and x then need.
        pa.default_memory_pool().release_unused()
        if self.test_path is not None:
            test = self._read(self.test_path)
            skipped.extend(test.bad.values())
            present["test"] = TableRows(self._typed(test, self.unknown))
        rows = self.split.complete(present, self.split_record)
        if roles.label is not None:
            self.label_names = next(column.classes for column in columns if column.name == roles.label)
        return TableSplits(rows["train"], rows["validation"], rows["test"], columns, roles, options, skipped)

    def _read(self, path: Path) -> RawTable:
        if path != self.path:
            return read_frame(path, self.options, on_error=self.on_error)
        if self._raw is None:
            self._raw = read_frame(path, self.options, on_error=self.on_error)
        return self._raw

    def _typed(self, raw: RawTable, unknown: Unknown) -> pd.DataFrame:
        """Return the typed frame of a file, whose index is the id of each row."""
        frame = typed_frame(raw, self.columns, unknown=unknown, who=f"'{self.path.name}'")
        return with_index(frame, raw.frame, self.roles.id)
