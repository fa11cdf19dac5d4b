"""Write series and tables to files.

Shapes: N rows, D columns.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.array_batches import regrouped, row_groups, write_npz
from aeframe.data.sample_batches import SampleBatches
from aeframe.data.tables import write_rows
from aeframe.data.tables.parquet import import_pyarrow, write_tables
from aeframe_series.recording import as_text

_CHUNK = 100_000
"""Rows that are formatted at a time."""
_EMPTY = {"nan": "", "NaT": ""}


def write_series(
    path: Path,
    parts: Iterable[NDArray[np.float64]],
    num: int,
    columns: Sequence[str] | None,
    identity: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write rows ``(N, D)`` while they are computed, in the format of the suffix: CSV, TSV, NPY, NPZ or Parquet.

    Args:
        path: The new file.
        parts: Parts ``(n, D)`` of the rows, one after another.
        num: The number of rows N in all parts.
        columns: The names of the D columns.
        identity: Columns ``(N,)`` that identify the rows, such as the time, which are written first; NPY has only the
            values.

    Raises:
        AeframeError: An unknown suffix.
    """
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if not identity or suffix not in ("csv", "tsv", "npz", "parquet"):
        write_rows(path, parts, num, columns)
    elif suffix == "npz":
        write_npz(path, "x", parts, num, before=identity)
    elif suffix == "parquet":
        _write_parquet(path, _tables(row_groups(parts), columns, identity))
    else:
        _write_csv(path, _tables(regrouped(parts, _CHUNK), columns, identity), "\t" if suffix == "tsv" else ",")


def window_rows(windows: SampleBatches, kept: NDArray[np.int64] | None) -> Iterator[NDArray[np.float32]]:
    """Yield the rows ``(n, D)`` of windows ``(N, D, T)``, one after another: all, or those with the numbers `kept`.

    They are computed by batch, unless `kept` does not ascend.
    """
    if kept is not None and (np.diff(kept) < 0).any():
        yield _rows(windows.tensor())[kept]
        return
    start = 0
    for x in windows:
        rows = _rows(x)
        del x
        if kept is None:
            yield rows
        else:
            first, last = np.searchsorted(kept, [start, start + len(rows)])
            yield rows[kept[first:last] - start]
        start += len(rows)


def _rows(x: Tensor) -> NDArray[np.float32]:
    """Return the rows ``(N T, D)`` of windows ``(N, D, T)``."""
    rows: NDArray[np.float32] = x.transpose(1, 2).flatten(0, 1).numpy()
    return rows


def _tables(
    parts: Iterable[NDArray[np.float64]], columns: Sequence[str] | None, identity: Mapping[str, NDArray[Any]]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the columns ``(n,)`` of each part of the rows by name, those of `identity` first."""
    start = 0
    for values in parts:
        stop = start + len(values)
        names = columns or [str(number) for number in range(values.shape[1])]
        known = {name: column[start:stop] for name, column in identity.items()}
        yield {**known, **{name: values[:, number] for number, name in enumerate(names)}}
        start = stop


def _write_csv(path: Path, tables: Iterable[Mapping[str, NDArray[Any]]], delimiter: str) -> None:
    """Write a header and the columns; NaN becomes an empty cell."""
    open_text: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with open_text(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        for number, columns in enumerate(tables):
            if not number:
                writer.writerow(columns)
            cells = [as_text(column).tolist() for column in columns.values()]
            writer.writerows(zip(*([_EMPTY.get(text, text) for text in column] for column in cells), strict=True))


def _write_parquet(path: Path, tables: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    pa = import_pyarrow(path)
    write_tables(path, map(pa.table, tables))
