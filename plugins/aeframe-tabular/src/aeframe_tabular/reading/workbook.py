"""Excel files (.xlsx), read by openpyxl (extra ``excel``): `read`."""

from __future__ import annotations

import shlex
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aeframe.data.file_samples import OnError
from aeframe.errors import AeframeError, did_you_mean
from aeframe_tabular.reading.checks import checked
from aeframe_tabular.reading.plain_columns import plain_frame
from aeframe_tabular.reading.selection import chosen_columns
from aeframe_tabular.reading.table import RawTable, TableOptions

_ERRORS = frozenset({"#N/A", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!"})
"""What cells show whose formula fails; they are missing."""


def read(path: Path, options: TableOptions, on_error: OnError) -> RawTable:
    """Read a sheet of an Excel file; see `aeframe_tabular.reading.read_frame`. Formulas have their stored values."""
    sheet, rows = _rows(path, options)
    return _table(path, sheet, rows, options, on_error)


def columns_of_sheet(path: Path, options: TableOptions) -> dict[str, int]:
    """Return the number in the sheet, from 1, of each column by its name."""
    cells, names, _ = _cells(path, *_rows(path, options), options)
    return {name: int(number) + 1 for name, number in zip(names, cells.columns, strict=True)}


def _rows(path: Path, options: TableOptions) -> tuple[str, list[list[Any]]]:
    """Return the name of the sheet to read, and the values of all of its rows."""
    try:
        import openpyxl
    except ImportError:
        raise AeframeError(
            f"'{path.name}' needs openpyxl, which is not installed; install it with pip install "
            "'aeframe-tabular[excel]', or save the sheet as CSV"
        ) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise AeframeError(f"'{path}' cannot be read as .xlsx ({error}); save it again") from None
    try:
        name = _sheet_name(path, book.sheetnames, options.sheet)
        return name, [list(row) for row in book[name].iter_rows(values_only=True)]
    finally:
        book.close()


def _sheet_name(path: Path, names: list[str], wanted: str | None) -> str:
    """Return the sheet to read.

    Raises:
        AeframeError: It does not exist, or there are several and none is chosen.
    """
    shown = ", ".join(names)
    if wanted is not None:
        if wanted not in names:
            raise AeframeError(
                f"'{path.name}' has no sheet '{wanted}'{did_you_mean(wanted, names)}; its sheets are {shown}"
            )
        return wanted
    if len(names) != 1:
        choice = shlex.quote(f"data.sheet={names[0]}")
        raise AeframeError(f"'{path.name}' has {len(names)} sheets ({shown}); choose one with {choice}")
    return names[0]


def _table(path: Path, sheet: str, rows: list[list[Any]], options: TableOptions, on_error: OnError) -> RawTable:
    cells, names, notes = _cells(path, sheet, rows, options)
    chosen = chosen_columns(f"'{path.name}'", names, options)
    frame = cells.reset_index(drop=True).iloc[:, chosen].set_axis([names[number] for number in chosen], axis=1)
    plain, more = plain_frame(frame, f"'{path.name}'", options.missing, parse=True)
    lines = [int(number) + 1 for number in cells.index]
    return checked(RawTable(plain, path.name, [*notes, *more], number_of=lines.__getitem__, options=options), on_error)


def _cells(
    path: Path, sheet: str, rows: list[list[Any]], options: TableOptions
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return the table in a sheet, from its first row with a cell, without rows and columns that are empty.

    Returns:
        The cells without the header; index and columns are their numbers in the sheet, from 0. The names of the
        columns. Notes.
    """
    cells: Any = pd.DataFrame(rows, dtype=object)
    cells = cells.where(~cells.isin([*_ERRORS]), None)
    is_filled = cells.notna().any(axis=1).to_numpy()
    cells = cells.loc[is_filled, cells.notna().any(axis=0).to_numpy()]
    if not len(cells):
        raise AeframeError(f"'{path.name}', sheet '{sheet}' is empty, expected rows of a table")
    # One cell above a table is its title.
    num_filled = cells.notna().sum(axis=1).to_numpy()
    if num_filled.max() > 1 and options.header is not False:
        cells = cells.iloc[int(np.argmax(num_filled > 1)) :]
    notes = []
    has_header = options.header if options.header is not None else _is_header(cells)
    if has_header:
        first = int(cells.index[0]) + 1
        names = ["" if value is None else str(value).strip() for value in cells.iloc[0]]
        cells = cells.iloc[1:]
        if first > 1:
            notes.append(f"'{path.name}': the table begins in row {first} of sheet '{sheet}'")
    else:
        names = [str(number) for number in range(cells.shape[1])]
        notes.append(
            f"'{path.name}' has no header, its columns are named 0 to {len(names) - 1}; set data.header=true if its "
            "first row is one"
        )
    return cells, names, notes


def _is_header(cells: pd.DataFrame) -> bool:
    """Return whether the first row has text only, as names have."""
    return all(value is None or isinstance(value, str) for value in cells.iloc[0])
