"""Write series and tables to files.

Shapes: N rows, D columns.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import write_rows
from aeframe.errors import AeframeError
from aeframe_series.recording import as_text

_CHUNK = 100_000
"""Rows that are formatted at a time."""
_EMPTY = {"nan": "", "NaT": ""}


def write_series(
    path: Path,
    values: NDArray[np.float64],
    columns: Sequence[str] | None,
    identity: Mapping[str, NDArray[Any]] | None = None,
) -> list[Path]:
    """Write rows ``(N, D)`` in the format of the suffix: CSV, TSV, NPY, NPZ or Parquet.

    Args:
        path: The new file.
        values: The rows.
        columns: The names of the D columns.
        identity: Columns ``(N,)`` that identify the rows, such as the time, which are written first; NPY has only the
            values.

    Raises:
        AeframeError: An unknown suffix, or a file that exists.
    """
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if not identity or suffix not in ("csv", "tsv", "npz", "parquet"):
        return _write_atomically(path, lambda partial: write_rows(partial, values, columns))
    if suffix == "npz":
        arrays = {**identity, "x": values}
        return _write_atomically(path, lambda partial: np.savez_compressed(partial, allow_pickle=False, **arrays))
    names = columns or [str(number) for number in range(values.shape[1])]
    table = {**identity, **{name: values[:, number] for number, name in enumerate(names)}}
    if suffix == "parquet":
        return _write_atomically(path, lambda partial: _write_parquet(partial, table))
    delimiter = "\t" if suffix == "tsv" else ","
    return _write_atomically(path, lambda partial: _write_csv(partial, table, delimiter))


def _write_csv(path: Path, columns: Mapping[str, NDArray[Any]], delimiter: str = ",") -> None:
    """Write a header and the columns; NaN becomes an empty cell."""
    open_text: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with open_text(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        num_rows = len(next(iter(columns.values())))
        for start in range(0, num_rows, _CHUNK):
            parts = [as_text(column[start : start + _CHUNK]).tolist() for column in columns.values()]
            writer.writerows(zip(*([_EMPTY.get(text, text) for text in cells] for cells in parts), strict=True))


def _write_parquet(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), path)


def _write_atomically(path: Path, write: Callable[[Path], None]) -> list[Path]:
    """Write to a temporary folder and move the complete file to `path`, so that no partial file is ever visible."""
    if path.exists():
        raise AeframeError(f"'{path}' exists, and nothing is overwritten; remove it, or write elsewhere")
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        # Keep the name of the file, which error messages of `write` contain.
        partial = Path(folder, path.name)
        write(partial)
        partial.rename(path)
    return [path]
