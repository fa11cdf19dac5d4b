"""Read tables of mixed types from files and from memory: `read_frame`, `frame_of`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aeframe.data.file_samples import OnError
from aeframe.data.tables.compression import SUFFIXES, TEXT_SUFFIXES, plain_suffix
from aeframe.errors import AeframeError, did_you_mean
from aeframe_tabular.reading import arrays, arrow, sqlite, text, workbook
from aeframe_tabular.reading.memory import frame_of
from aeframe_tabular.reading.table import RawTable, TableOptions

_READERS: dict[str, Callable[[Path, TableOptions, OnError], RawTable]] = {
    **dict.fromkeys(TEXT_SUFFIXES, text.read),
    ".parquet": arrow.read,
    ".feather": arrow.read,
    ".xlsx": workbook.read,
    ".sqlite": sqlite.read,
    ".sqlite3": sqlite.read,
    ".db": sqlite.read,
    ".npz": arrays.read,
}


def read_frame(path: Path, options: TableOptions = TableOptions(), on_error: OnError = "raise") -> RawTable:  # noqa: B008
    """Return the cells of a table in a file: numbers, text, truth values and times, with missing cells as missing.

    Args:
        path: A text table, also compressed, or a Parquet, Feather, Excel, SQLite or NPZ file.
        options: How it is written, and which columns are read.
        on_error: ``skip`` leaves out rows with another number of cells or an infinite number, and lists them in
            `RawTable.bad`.

    Raises:
        AeframeError: The file is missing, empty or no table; a column does not exist or is there twice; a row has
            another number of cells, or a number is infinite, unless rows are skipped.
    """
    suffix = plain_suffix(path)
    reader = _READERS.get(suffix)
    if reader is None or (reader is not text.read and path.suffix.lower() != suffix):
        old = "; save it as .xlsx" if suffix in (".xls", ".xlsm", ".xlsb", ".ods") else ""
        raise AeframeError(
            f"'{path.name}' has suffix '{path.suffix}', expected one of {', '.join(_READERS)}{old}; text may be "
            f"compressed ({', '.join(SUFFIXES)})"
        )
    if path.is_dir():
        raise AeframeError(f"'{path}' is a folder, expected a file ending in {', '.join(_READERS)}")
    if not path.is_file():
        if path.exists():
            raise AeframeError(f"'{path}' is a pipe or a device, expected a file; copy its content to a file first")
        siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
        raise AeframeError(f"there is no file '{path}'{did_you_mean(path.name, siblings)}")
    if path.stat().st_size == 0:
        raise AeframeError(f"'{path}' is empty, expected rows of a table")
    return reader(path, options, on_error)


__all__ = ["OnError", "RawTable", "TableOptions", "frame_of", "read_frame"]
