"""Parquet and Feather files, read and written by pyarrow, which is imported on first use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.array_batches import row_groups
from aeframe.data.lazy_rows import LazyRows
from aeframe.data.limits import check_memory
from aeframe.data.new_output import removed_after_error
from aeframe.data.tables.cells import CellReader
from aeframe.data.tables.parse import raise_for_large_integers
from aeframe.data.tables.rows import Choice, Header, Rows, check_not_empty, pasted, select_columns, select_others
from aeframe.data.tables.scan import unreadable
from aeframe.errors import AeframeError

_MAX_SHOWN = 6
_BUFFER = 1 << 16
"""Bytes of a column that are read at a time."""
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class _File:
    """The columns of a file and those that are read, by their numbers."""

    schema: Any
    num_rows: int
    x: list[int]
    label: int | None
    row_id: int | None
    others: list[int]
    index: tuple[str, ...]
    """Names of the columns that are the index of a data frame of pandas, without those that are chosen by name."""

    @property
    def names(self) -> list[str]:
        return list(self.schema.names)


def header(path: Path, choice: Choice) -> Header:
    """Return names and number of the columns of x, from the schema of the file."""
    file = _opened(path, choice)
    return Header((len(file.x),), tuple(file.names[number] for number in file.x))


def names(path: Path, choice: Choice) -> tuple[str, ...] | None:
    """Return the names of all columns, from the schema of the file."""
    return tuple(_schema(path)[0].names)


def read(path: Path, choice: Choice, *, mapped: bool = False, keep_bad: bool = False) -> Rows:
    """Read the columns that `choice` names, one group of rows at a time; nulls become NaN."""
    file = _opened(path, choice)
    columns = [file.names[number] for number in file.x]
    _check_numeric(path, file, is_given=choice.columns is not None)
    dtype = _dtype(file)
    check_memory(
        f"'{path.name}'",
        dtype.itemsize * file.num_rows * len(columns),
        f"{file.num_rows} rows of {len(columns)} columns",
    )
    values, start = np.empty((file.num_rows, len(columns)), dtype), 0
    text: dict[int, list[NDArray[Any]]] = {}
    for number in (file.label, file.row_id, *file.others):
        if number is not None:
            text[number] = []
    large: dict[str, str] = {}
    for block in _blocks(path, [*columns, *(file.names[number] for number in text)]):
        stop = start + block.num_rows
        if stop > file.num_rows:
            raise AeframeError(f"'{path}' has more rows than its footer states, {file.num_rows}; write it again")
        for position, name in enumerate(columns):
            values[start:stop, position] = _numbers(path, name, block.column(name), start, large)
        for number, parts in text.items():
            parts.append(_values(path, block.column(file.names[number])))
        start = stop
    if start != file.num_rows:
        raise AeframeError(f"'{path}' has {start} rows, and its footer states {file.num_rows}; write it again")
    raise_for_large_integers(path, large)
    values_of = {number: np.concatenate(parts) if parts else np.empty(0, object) for number, parts in text.items()}
    CellReader(".", choice.text.missing).without_marks(values)
    num_missing = int(sum(np.isnan(values[:, position]).sum() for position in range(len(columns))))
    notes = [f"'{path.name}': {num_missing} of {values.size} numbers are missing"] if num_missing else []
    if file.index:
        notes.append(
            f"'{path.name}': the index of the data frame ({', '.join(file.index)}) identifies the rows, and is no "
            "column of x"
        )
    rows = Rows(
        LazyRows(values) if mapped else values,
        path.name,
        tuple(columns),
        None if file.label is None else values_of[file.label],
        names=None if file.row_id is None else values_of[file.row_id].astype(str),
        id_column=None if file.row_id is None else file.names[file.row_id],
        others={file.names[number]: values_of[number] for number in file.others},
        notes=tuple(notes),
    )
    return check_not_empty(path.name, rows)


def write(
    path: Path,
    parts: Iterable[NDArray[Any]],
    num: int,
    columns: Sequence[str] | None,
    names: Sequence[str] | None = None,
    id_column: str = "",
) -> None:
    """Write rows ``(N, D)``; without names, columns are named by their index. `names` are the index of pandas."""
    write_tables(path, _tables(row_groups(parts), columns, names, id_column))


def write_replaced(
    original: Path, path: Path, choice: Choice, replaced: Sequence[tuple[NDArray[np.int64], NDArray[Any]]]
) -> None:
    """Write a copy of a file with other values in some rows of the columns of x; the metadata stay.

    Args:
        original: The file.
        path: The new file, of the same format.
        choice: What was read from the original.
        replaced: For each column of x the rows, and their values. Columns of integers become floating-point numbers.
    """
    numbers = _opened(original, choice).x
    write_tables(path, [with_cells(read_table(original), dict(zip(numbers, replaced, strict=True)))])


def read_table(path: Path) -> Any:
    """Return all of a Parquet or Feather file as a table of pyarrow."""
    import_pyarrow(path)
    if path.suffix.lower() == ".feather":
        from pyarrow import feather

        return feather.read_table(path)
    import pyarrow.parquet as pq

    return pq.read_table(path)


def with_cells(table: Any, cells: Mapping[int, tuple[NDArray[np.int64], Any]]) -> Any:
    """Return a table of pyarrow with other values in some rows of columns, by the numbers of these.

    The type of a column stays, except that integers become float64 where a value is no integer.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for number, (rows, values) in cells.items():
        if not len(rows):
            continue
        column, field = table.column(number), table.schema.field(number)
        new = pa.array(values)
        new = new.dictionary_decode() if pa.types.is_dictionary(new.type) else new
        is_fraction = pa.types.is_floating(new.type) and not pc.all(pc.equal(pc.round(new), new)).as_py()
        kind = pa.float64() if pa.types.is_integer(column.type) and is_fraction else column.type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        gaps = np.zeros(len(column), np.bool_)
        gaps[rows] = True
        filled = pc.replace_with_mask(column.cast(plain).combine_chunks(), pa.array(gaps), new.cast(plain))
        if pa.types.is_dictionary(kind):
            filled = _with_dictionary(filled, column)
        table = table.set_column(number, field.with_type(kind), filled)
        if kind != column.type:
            table = table.replace_schema_metadata(_with_floats(table.schema.metadata, field.name))
    return table


def _with_dictionary(values: Any, like: Any) -> Any:
    """Return values as a dictionary array with the entries, in their order, and the type of another column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    entries = like.unify_dictionaries().combine_chunks().dictionary
    new = pc.unique(values.filter(pc.invert(pc.is_in(values, value_set=entries)))).drop_null()
    entries = pa.concat_arrays([entries, new])
    indices = pc.index_in(values, value_set=entries).cast(like.type.index_type)
    return pa.DictionaryArray.from_arrays(indices, entries, ordered=like.type.ordered)


def _with_floats(metadata: Mapping[bytes, bytes] | None, column: str) -> Mapping[bytes, bytes] | None:
    """Return the metadata of a file in which pandas reads a column as floating-point numbers."""
    if not metadata or b"pandas" not in metadata:
        return metadata
    described = json.loads(metadata[b"pandas"])
    for entry in described["columns"]:
        if entry["field_name"] == column:
            is_nullable = str(entry["numpy_type"])[:1] in "IU"
            entry.update(pandas_type="float64", numpy_type="Float64" if is_nullable else "float64")
    return {**metadata, b"pandas": json.dumps(described).encode()}


def write_tables(path: Path, tables: Iterable[Any]) -> None:
    """Write tables of pyarrow with the same columns as a new file, each as one row group, while they are computed.

    After an error no part of the file is left.

    Args:
        path: A Feather file if its suffix is ``.feather``, else a Parquet file.
        tables: The tables, one after another.

    Raises:
        AeframeError: pyarrow is not installed.
        FileExistsError: The file exists.
    """
    pa = import_pyarrow(path)
    writer = None
    # Opened with "x", so that a file that appeared in the meantime is not overwritten.
    with path.open("xb") as file, removed_after_error(path), ExitStack() as stack:
        for table in tables:
            writer = writer or stack.enter_context(_writer(pa, path, file, table.schema))
            writer.write_table(table)


def _tables(
    parts: Iterable[NDArray[Any]], columns: Sequence[str] | None, names: Sequence[str] | None, id_column: str
) -> Iterator[Any]:
    """Yield each part ``(n, D)`` of the rows as a table of pyarrow."""
    start = 0
    for values in parts:
        stop = start + len(values)
        yield _table(values, columns, None if names is None else names[start:stop], id_column)
        start = stop


def _table(values: NDArray[Any], columns: Sequence[str] | None, names: Sequence[str] | None, id_column: str) -> Any:
    """Return rows ``(n, D)`` as a table of pyarrow."""
    import pyarrow as pa

    headings = list(columns) if columns is not None else [str(number) for number in range(values.shape[1])]
    if names is None:
        return pa.table({name: values[:, number] for number, name in enumerate(headings)})
    import pandas as pd

    label = None if id_column in ("", "__index_level_0__") else id_column
    frame = pd.DataFrame(values, columns=headings, index=pd.Index([str(name) for name in names], name=label))
    return pa.Table.from_pandas(frame)


def _writer(pa: Any, path: Path, file: Any, schema: Any) -> Any:
    """Return a writer of tables in the format of the suffix, Feather or Parquet."""
    if path.suffix.lower() == ".feather":
        # As `pyarrow.feather.write_feather` does.
        return pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
    import pyarrow.parquet as pq

    return pq.ParquetWriter(file, schema)


def _opened(path: Path, choice: Choice) -> _File:
    """Return the columns of a file, and those that are read."""
    schema, num_rows = _schema(path)
    names = list(schema.names)
    index = tuple(name for name in _index_columns(schema) if name in names and not choice.uses(name))
    x, label = select_columns(path.name, names, replace(choice, exclude=(*choice.exclude, *index)))
    others = select_others(path.name, names, choice.others)
    row_id = names.index(index[0]) if len(index) == 1 else None
    if choice.id is not None:
        [row_id] = select_others(path.name, names, (choice.id,), "id")
    return _File(schema, num_rows, x, label, row_id, others, index)


def _schema(path: Path) -> tuple[Any, int]:
    """Return the schema of a file and its number of rows."""
    pa = import_pyarrow(path)
    try:
        if path.suffix.lower() == ".feather":
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
                batches = range(reader.num_record_batches)
                return reader.schema, sum(reader.get_batch(number).num_rows for number in batches)
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise AeframeError(f"'{path}' cannot be read as {path.suffix} ({error})") from None


def _index_columns(schema: Any) -> list[str]:
    """Return the names of the columns that pandas stored as the index of its data frame."""
    try:
        stored = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    except ValueError:
        return []
    columns = stored.get("index_columns", []) if isinstance(stored, dict) else []
    # An index of row numbers is stored as a mapping, without a column.
    named = [column for column in columns if isinstance(column, str)] if isinstance(columns, list) else []
    return [*named, *(name for name in schema.names if name.startswith("__index_level_") and name not in named)]


def _blocks(path: Path, names: list[str]) -> Iterator[Any]:
    """Yield blocks of rows with the columns `names`."""
    pa = import_pyarrow(path)
    try:
        if path.suffix.lower() == ".feather":
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
                for number in range(reader.num_record_batches):
                    yield reader.get_batch(number).select(dict.fromkeys(names))
            return
        import pyarrow.parquet as pq

        # Read in parts: groups of rows may be as large as the file.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
            yield from file.iter_batches(columns=[*dict.fromkeys(names)])
    except (pa.ArrowException, OSError) as error:
        raise AeframeError(f"'{path}' cannot be read as {path.suffix} ({error})") from None


def _dtype(file: _File) -> np.dtype[Any]:
    """Return float32 if all columns of x are stored in single precision or less, otherwise float64."""
    types = {str(file.schema.field(number).type) for number in file.x}
    return np.dtype(
        np.float32 if types <= {"float", "halffloat", "bool", "int8", "uint8", "int16", "uint16"} else float
    )


def _numbers(path: Path, name: str, column: Any, start: int, large: dict[str, str]) -> NDArray[Any]:
    """Return a column as numbers, nulls as NaN; add a whole number beyond 2**53 to `large`."""
    pa = import_pyarrow(path)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type) and column.type.bit_width == 64 and len(column) > column.null_count:
        integers = column.drop_null().to_numpy(zero_copy_only=False)
        beyond = (integers > _LARGEST) | (integers < -_LARGEST)
        if beyond.any() and name not in large:
            large[name] = f"such as {integers[beyond][0]}"
    # Cast to float64, in which nulls of any column type become NaN; integers beyond 2**53 are refused above.
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def _values(path: Path, column: Any) -> NDArray[Any]:
    """Return a column of labels or other values, None for nulls."""
    values = np.empty(len(column), object)
    try:
        values[:] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise unreadable(path, error) from None
    if column.null_count == 0 and len(column):
        plain = np.asarray(column.to_numpy(zero_copy_only=False))
        return plain.astype(str) if plain.dtype == object else plain
    return values


def _check_numeric(path: Path, file: _File, *, is_given: bool) -> None:
    """Raise AeframeError for columns of x that are no numbers, with all of them."""
    pa = import_pyarrow(path)
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    wrong: dict[str, str] = {}
    for number in file.x:
        kind = file.schema.field(number).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not any(check(kind) for check in numeric):
            wrong[file.names[number]] = str(kind)
    if not wrong:
        return
    shown = ", ".join(f"'{name}' ({kind})" for name, kind in [*wrong.items()][:_MAX_SHOWN])
    more = f" and {len(wrong) - _MAX_SHOWN} more" if len(wrong) > _MAX_SHOWN else ""
    found = f"'{path.name}': {'columns' if len(wrong) > 1 else 'column'} {shown}{more} "
    found += "hold no numbers" if len(wrong) > 1 else "holds no numbers"
    if is_given:
        raise AeframeError(f"{found}; choose other columns")
    them = "them" if len(wrong) > 1 else "it"
    raise AeframeError(
        f"{found}; leave {them} out with data.exclude={pasted(wrong)}, or use a column as data.label or data.id"
    )


def import_pyarrow(path: Path) -> Any:
    """Return the module ``pyarrow``, with which all Parquet files and Zstandard streams are read and written.

    Raises:
        AeframeError: It is not installed; the message names the file that needs it.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise AeframeError(
            f"'{path.name}' needs pyarrow, which is not installed; install it with pip install 'aeframe[parquet]'"
        ) from None
    return pa
