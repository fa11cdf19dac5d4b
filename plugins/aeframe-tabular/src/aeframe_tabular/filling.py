"""Copy a table whose missing cells were filled, with all other cells as they are: `write_filled`, `fill_frame`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.data.missing_values import fill_column
from aeframe.data.tables.dialect import find_dialect
from aeframe.data.tables.filled_text import write_filled_text
from aeframe.data.tables.filling import table_format
from aeframe.data.tables.header_line import read_first_lines
from aeframe.data.tables.parquet import read_table, with_cells, write_tables
from aeframe_tabular.distinct import numbers_in
from aeframe_tabular.reading import RawTable, TableOptions
from aeframe_tabular.reading.workbook import columns_of_sheet
from aeframe_tabular.writing import write_frames

CellKind = Literal["boolean", "number", "date", "text"]
_INFERRED: dict[str, CellKind] = {
    "boolean": "boolean",
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), "number"),
    **dict.fromkeys(("datetime", "datetime64", "date"), "date"),
}
"""Kinds by the type that pandas infers from the values of a column of objects."""
_TRUE = ("true", "1", "1.0", "yes", "y", "t")


@dataclass(frozen=True, slots=True)
class FilledCells:
    """The filled cells of N rows."""

    typed: pd.DataFrame
    """The rows as a typed frame with the columns of x."""
    restored: pd.DataFrame
    """The same in the types of the training table."""
    missing: NDArray[np.bool_]
    """``(N, C)``: True where a cell was filled."""

    def columns(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Yield name and filled cells ``(N,)`` of each column that has any."""
        for name, gaps in zip(self.typed.columns, self.missing.T, strict=True):
            if gaps.any():
                yield str(name), gaps

    def values(self, name: str, gaps: NDArray[np.bool_], kind: CellKind) -> Any:
        """Return the filled cells of a column, an array of pandas or numpy, as cells of a kind.

        The table may have another type than that of training: truth values instead of text, dates instead of text.
        """
        typed, restored = self.typed[name][gaps], self.restored[name][gaps]
        if kind == "boolean":
            return restored.astype(str).str.lower().isin(_TRUE).to_numpy()
        if kind == "number":
            return numbers_in(restored.array)
        if kind == "date":
            return (typed if typed.dtype.kind == "M" else pd.to_datetime(restored)).array
        return restored.array


def fill_frame(frame: pd.DataFrame, cells: FilledCells) -> pd.DataFrame:
    """Return a copy of a data frame with the filled cells; its columns are found by name."""
    frame = frame.copy()
    positions = {str(name): number for number, name in enumerate(frame.columns)}
    for name, gaps in cells.columns():
        column = frame.iloc[:, positions[name]]
        values = cells.values(name, gaps, _kind_of(column))
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            values = pd.Series(values).dt.tz_localize("UTC").dt.tz_convert(column.dtype.tz)
        fill_column(frame, positions[name], gaps, values)
    return frame


def _kind_of(column: pd.Series[Any]) -> CellKind:
    """Return the kind of the cells of a column that is not missing entirely, from its type or its values."""
    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return _INFERRED.get(pd.api.types.infer_dtype(column, skipna=True), "text")
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_numeric_dtype(dtype):
        return "number"
    return "date" if pd.api.types.is_datetime64_any_dtype(dtype) else "text"


def write_filled(original: Path, path: Path, raw: RawTable, options: TableOptions, cells: FilledCells) -> None:
    """Write a table as a new file.

    In the format of the original, everything but the filled cells is as there: other columns, text, order and types of
    columns, skipped rows; in a workbook also other sheets and formulas. In another format, columns and rows are those
    that were read.

    Args:
        original: The table.
        path: The new file.
        raw: The cells of the original, as they were read.
        options: How the original was read.
        cells: The filled cells of the rows of `raw`.
    """
    kind = table_format(original)
    if kind != table_format(path) or kind not in (".csv", ".parquet", ".feather", ".xlsx"):
        frame = fill_frame(raw.frame, cells)
        frame = frame if frame.index.name is None else frame.reset_index()
        write_frames(path, [frame], raw.options)
    elif kind == ".csv":
        _write_text(original, path, raw, options, cells)
    elif kind == ".xlsx":
        _write_workbook(original, path, raw, options, cells)
    else:
        table = read_table(original)
        rows = np.arange(len(raw.frame)) if raw.positions is None else raw.positions
        numbers = {name: number for number, name in enumerate(table.schema.names)}
        new = {
            numbers[name]: (rows[gaps], cells.values(name, gaps, _kind_of_arrow(table.schema.field(name).type)))
            for name, gaps in cells.columns()
        }
        write_tables(path, [with_cells(table, new)])


def _kind_of_arrow(dtype: Any) -> CellKind:
    import pyarrow as pa

    dtype = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    if pa.types.is_boolean(dtype):
        return "boolean"
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype):
        return "number"
    return "date" if pa.types.is_timestamp(dtype) or pa.types.is_date(dtype) else "text"


def _write_text(original: Path, path: Path, raw: RawTable, options: TableOptions, cells: FilledCells) -> None:
    dialect = find_dialect(original, options.of_text())
    first = read_first_lines(original, dialect, options.header)
    numbers = {name: number for number, name in enumerate(first.columns)}
    new = _texts(cells, numbers, dialect.cells.decimal)
    write_filled_text(original, path, dialect, new, has_header=first.names is not None, skipped=raw.bad)


def _texts(cells: FilledCells, numbers: Mapping[str, int], decimal: str) -> Iterator[tuple[int, Mapping[int, str]]]:
    """Yield the new cells of each row as text, by the number of their column in the file."""
    rows = np.flatnonzero(cells.missing.any(1))
    text = cells.restored.iloc[rows].to_csv(index=False, header=False, decimal=decimal)
    columns = [numbers[str(name)] for name in cells.restored.columns]
    for row, written, gaps in zip(rows.tolist(), csv.reader(io.StringIO(text)), cells.missing[rows], strict=True):
        yield row, {columns[number]: written[number] for number in np.flatnonzero(gaps).tolist()}


def _write_workbook(original: Path, path: Path, raw: RawTable, options: TableOptions, cells: FilledCells) -> None:
    import openpyxl

    book = openpyxl.load_workbook(original)
    sheet = book[options.sheet or book.sheetnames[0]]
    numbers = columns_of_sheet(original, options)
    positions = np.arange(len(raw.frame)) if raw.positions is None else raw.positions
    for name, gaps in cells.columns():
        values: list[Any] = cells.values(name, gaps, _kind_of(raw.frame[name])).tolist()
        for position, value in zip(positions[gaps].tolist(), values, strict=True):
            sheet.cell(raw.number_of(position), numbers[name], _plain(value))
    book.save(path)


def _plain(value: Any) -> Any:
    """Return a cell as openpyxl takes it."""
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
