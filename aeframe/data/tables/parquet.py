"""Parquet files, read and written by pyarrow, which is imported on first use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables.rows import Choice, Header, Rows, check_not_empty, select_columns
from aeframe.errors import AeframeError


def header(path: Path, choice: Choice) -> Header:
    """Return names and number of the columns of x, from the schema of the file."""
    chosen, names, _ = _schema(path, choice)
    return Header((len(chosen),), tuple(names[number] for number in chosen))


def read(path: Path, choice: Choice, *, mapped: bool = False) -> Rows:
    """Read the columns and the label that `choice` names; nulls become NaN."""
    pa, pq = _pyarrow(path)
    chosen, names, label = _schema(path, choice)
    _check_numeric(path, chosen)
    columns = [names[number] for number in chosen]
    table = pq.read_table(path, columns=[*columns, *([] if label is None else [names[label]])])
    # Cast to float64, in which nulls of any column type become NaN.
    values = np.stack([table[name].cast(pa.float64()).to_numpy() for name in columns], axis=1)
    labels = None if label is None else table[names[label]].to_numpy()
    if labels is not None and labels.dtype == object:
        labels = labels.astype(str)
    return check_not_empty(path.name, Rows(values, path.name, tuple(columns), labels))


def write(path: Path, values: NDArray[Any], columns: Sequence[str] | None) -> None:
    """Write rows ``(N, D)``; without names, columns are named by their index."""
    pa, pq = _pyarrow(path)
    names = list(columns) if columns is not None else [str(number) for number in range(values.shape[1])]
    pq.write_table(pa.table({name: values[:, number] for number, name in enumerate(names)}), path)


def _schema(path: Path, choice: Choice) -> tuple[list[int], list[str], int | None]:
    """Return the indices of the columns of x, the names of all columns, and the index of the label or None."""
    pa, pq = _pyarrow(path)
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise AeframeError(f"'{path}' cannot be read as .parquet ({error})") from None
    names = list(schema.names)
    chosen, label = select_columns(path.name, names, choice)
    return chosen, names, label


def _check_numeric(path: Path, chosen: list[int]) -> None:
    pa, pq = _pyarrow(path)
    schema = pq.read_schema(path)
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    for number in chosen:
        kind = schema.field(number).type
        if not any(check(kind) for check in numeric):
            raise AeframeError(
                f"column '{schema.names[number]}' of '{path.name}' has type {kind}, expected numbers; "
                f"name the columns to read with columns, or the one to set aside with label"
            )


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise AeframeError(
            f"'{path.name}' needs pyarrow, which is not installed; install it with pip install 'aeframe[parquet]'"
        ) from None
    return pa, pq
