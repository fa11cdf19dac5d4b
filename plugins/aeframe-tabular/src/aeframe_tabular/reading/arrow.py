"""Parquet and Feather files, read one column after another: `read`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from aeframe.data.file_samples import OnError
from aeframe.errors import AeframeError
from aeframe_tabular.reading.checks import checked
from aeframe_tabular.reading.plain_columns import PlainColumns
from aeframe_tabular.reading.selection import chosen_columns
from aeframe_tabular.reading.table import RawTable, TableOptions


def read(path: Path, options: TableOptions, on_error: OnError) -> RawTable:
    """Read a Parquet or Feather file; see `aeframe_tabular.reading.read_frame`."""
    try:
        with _opened(path) as (schema, num_rows, column_of):
            return _read(path, options, on_error, schema, num_rows, column_of)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise AeframeError(f"'{path}' cannot be read as {path.suffix} ({error})") from None


def _read(path: Path, options: TableOptions, on_error: OnError, schema: Any, num_rows: int, column_of: Any) -> RawTable:
    names = list(schema.names)
    by_name = (*options.exclude, *(options.columns or ()))
    index = [name for name in _index_columns(schema) if name in names and name not in by_name]
    chosen = chosen_columns(f"'{path.name}'", names, options, kept=[names.index(name) for name in index])
    columns = PlainColumns(f"'{path.name}'", options.missing, parse=False)
    values: dict[str, Any] = {}
    for number in chosen:
        # Each column of pyarrow is freed before the next one is read.
        array = columns.of_arrow(names[number], column_of(number))
        if array is not None:
            values[names[number]] = array
    if not values:
        raise AeframeError(f"'{path.name}' has no column of numbers, text or times; {'; '.join(columns.notes)}")
    rows = None
    if len(index) == 1:
        label = None if index[0].startswith("__index_level_") else index[0]
        rows = pd.Index(column_of(names.index(index[0])).to_pandas(), name=label)
        columns.notes.append(f"'{path.name}': the index of the data frame ({index[0]}) identifies the rows")
    elif index:
        columns.notes.append(f"'{path.name}': the index of the data frame ({', '.join(index)}) is left out")
    frame = pd.DataFrame(values, index=rows, copy=False)
    return checked(RawTable(frame, path.name, columns.notes, options=options), on_error)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, int, Any]]:
    """Open a file for its schema, its number of rows, and a function that returns a column by its number."""
    if path.suffix.lower() == ".feather":
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            schema = reader.schema
            counts = [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]

            def feather_column(number: int) -> Any:
                options = pa.ipc.IpcReadOptions(included_fields=[number])
                with pa.ipc.open_file(source, options=options) as one:
                    return one.read_all().column(0)

            yield schema, sum(counts), feather_column
        return
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:
        schema = file.schema_arrow

        def parquet_column(number: int) -> Any:
            return file.read(columns=[schema.names[number]]).column(0)

        yield schema, file.metadata.num_rows, parquet_column


def _index_columns(schema: Any) -> list[str]:
    """Return the names of the columns that pandas stored as the index of its data frame."""
    try:
        stored = (schema.pandas_metadata or {}).get("index_columns", [])
    except (ValueError, AttributeError):
        return []
    return [name for name in stored if isinstance(name, str)] if isinstance(stored, list) else []
