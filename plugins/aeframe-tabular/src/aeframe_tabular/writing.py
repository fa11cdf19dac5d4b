"""`write_frames`: write the rows of a table, part by part, in the format of the suffix."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from aeframe.data.tables.compression import SUFFIXES, open_for_writing, plain_suffix
from aeframe.data.tables.parquet import write_tables
from aeframe.errors import AeframeError
from aeframe_tabular.reading import TableOptions

_TEXT = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
"""Text formats and their usual delimiter."""
_COLUMNAR = (".parquet", ".feather")
_EXCEL = (".xlsx",)


def write_frames(path: Path, frames: Iterable[pd.DataFrame], options: TableOptions) -> None:
    """Write data frames with the same columns, one after another, as a new file.

    Text has the delimiter and decimal mark of the training file, if that was text too. An Excel file is written at
    once, all others while the frames are computed.

    Raises:
        AeframeError: The format is not written, or needs a package that is not installed.
    """
    suffix = plain_suffix(path)
    if suffix in _TEXT:
        delimiter = options.delimiter or _TEXT[suffix]
        with open_for_writing(path) as file:
            for number, frame in enumerate(frames):
                frame.to_csv(
                    file,
                    index=False,
                    header=number == 0,
                    sep="\t" if delimiter == "tab" else delimiter,
                    decimal=options.decimal or ".",
                    lineterminator="\n",
                )
    elif suffix in _COLUMNAR and path.suffix.lower() not in SUFFIXES:
        write_tables(path, _tables(frames))
    elif suffix in _EXCEL:
        _write_excel(path, frames)
    else:
        known = ", ".join((*_TEXT, *_COLUMNAR, *_EXCEL))
        raise AeframeError(f"tables are written as {known}, found '{path.name}'; choose one of these suffixes")


def _tables(frames: Iterable[pd.DataFrame]) -> Iterator[Any]:
    """Yield each frame as a table of pyarrow, with the types of the first."""
    import pyarrow as pa

    schema = None
    for frame in frames:
        table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        schema = table.schema
        yield table


def _write_excel(path: Path, frames: Iterable[pd.DataFrame]) -> None:
    try:
        import openpyxl  # noqa: F401 - what pandas writes with
    except ImportError:
        raise AeframeError(
            f"'{path.name}' needs openpyxl, which is not installed; pip install aeframe-tabular[excel], or write .csv"
        ) from None
    first, *rest = itertools.chain(frames)
    pd.concat([first, *rest]).to_excel(path, index=False)
