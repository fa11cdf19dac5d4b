"""Write tables whose rows are computed by batch, as CSV, Parquet or NPZ."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from numpy.typing import NDArray


_ROWS = 1 << 14
"""Rows of a row group of a Parquet file."""


def check_rows_suffix(path: Path) -> None:
    """Raise AeframeError unless the suffix is that of a table."""
    if not path.name.lower().endswith((".csv", ".csv.gz", ".parquet", ".npz")):
        raise AeframeError(
            f"rows are written as .csv, .csv.gz, .parquet or .npz, found '{path}'; choose a name that ends in .csv"
        )
    check_pyarrow(path)


def check_pyarrow(path: Path) -> None:
    """Raise AeframeError if a file is to be Parquet, and pyarrow is not installed."""
    if path.suffix.lower() == ".parquet":
        from aeframe.data.tables.parquet import import_pyarrow

        import_pyarrow(path)


def write_rows(path: Path, batches: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    """Write columns ``(B,)`` by name, of one batch after another, as one new file.

    Memory does not grow with the number of batches, except for NPZ, which has an array for each column. After an error
    no part of the file is left. NaN is an empty field in CSV.
    """
    import numpy as np

    from aeframe.data.new_output import removed_after_error

    if path.suffix.lower() == ".npz":
        columns: dict[str, list[NDArray[Any]]] = {}
        for batch in batches:
            for name, values in batch.items():
                columns.setdefault(name, []).append(without_objects(values))
        with path.open("xb") as file, removed_after_error(path):
            np.savez_compressed(
                file, allow_pickle=False, **{name: np.concatenate(parts) for name, parts in columns.items()}
            )
        return
    if path.suffix.lower() == ".parquet":
        write_parquet(path, batches)
        return
    with _open_text(path) as file, removed_after_error(path):
        writer = csv.writer(file, lineterminator="\n")
        for number, batch in enumerate(batches):
            if number == 0:
                writer.writerow(batch)
            writer.writerows(zip(*(_fields(values) for values in batch.values()), strict=True))


def _open_text(path: Path) -> TextIO:
    """Open a new file for text, compressed if its suffix is ``.gz``."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "xt", encoding="utf-8", newline="")
    return path.open("x", encoding="utf-8", newline="")


def _fields(values: NDArray[Any]) -> list[Any]:
    """Return the values of a column, with None for NaN."""
    fields: list[Any] = values.tolist()
    return [None if field != field else field for field in fields] if values.dtype.kind == "f" else fields


def write_parquet(path: Path, batches: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    """Write columns ``(B,)`` by name as a new Parquet file, several batches as one row group."""
    from aeframe.data.tables.parquet import import_pyarrow, write_tables

    pa = import_pyarrow(path)
    write_tables(
        path,
        (pa.table({name: without_objects(values) for name, values in batch.items()}) for batch in _joined(batches)),
    )


def _joined(batches: Iterable[Mapping[str, NDArray[Any]]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield batches of at least `_ROWS` rows, except for the last: the metadata of each row group occupy memory."""
    import numpy as np

    waiting: list[Mapping[str, NDArray[Any]]] = []
    num = 0
    for batch in batches:
        waiting.append(batch)
        num += len(next(iter(batch.values())))
        if num >= _ROWS:
            yield {name: np.concatenate([each[name] for each in waiting]) for name in batch}
            waiting, num = [], 0
    if waiting:
        yield {name: np.concatenate([each[name] for each in waiting]) for name in waiting[0]}


def gathered(batches: Iterable[Mapping[str, NDArray[Any]]], num: int) -> dict[str, NDArray[Any]]:
    """Return the arrays ``(num, ...)`` by name of all batches, which have `num` samples together; texts as objects."""
    import numpy as np

    # Small arrays that stay between the large ones of each batch would fragment the memory.
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for batch in batches:
        for name, values in batch.items():
            if name not in arrays:
                is_text = values.dtype.kind in "OUS"
                arrays[name] = np.empty((num, *values.shape[1:]), object if is_text else values.dtype)
            arrays[name][start : start + len(values)] = values
        start += len(next(iter(batch.values())))
    return arrays


def without_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as an array that needs no pickle: objects as strings."""
    return values.astype(str) if values.dtype == object else values
