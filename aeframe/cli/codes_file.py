"""Write codes with what identifies their samples, as NPZ or Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.errors import AeframeError

SUFFIXES = (".npz", ".parquet")
VECTORS = ("z", "codes")
"""Arrays of numbers for each sample; the others have one value for each."""


def check_suffix(path: Path) -> None:
    """Raise AeframeError unless codes can be written in the format of the suffix."""
    if path.suffix.lower() not in SUFFIXES:
        raise AeframeError(f"codes are written as NPZ or Parquet, found '{path}'; choose a name that ends in .npz")
    if path.suffix.lower() == ".parquet":
        _pyarrow(path)


def write_codes(path: Path, batches: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    """Write batches of codes as one new file.

    An NPZ file has one array ``(N, ...)`` for each name. A Parquet file has one row for each sample, and a column for
    each number of ``z`` and ``codes``: ``z0``, ``z1``, ... in the order of the flattened code. Parquet is written while
    the batches are computed, so that memory does not grow with their number.

    Args:
        path: A file that ends in ``.npz`` or ``.parquet``.
        batches: The arrays ``(B, ...)`` of each batch by name; all batches have the same names.
    """
    if path.suffix.lower() == ".parquet":
        _write_parquet(path, batches)
        return
    parts: dict[str, list[NDArray[Any]]] = {}
    for batch in batches:
        for name, values in batch.items():
            parts.setdefault(name, []).append(_plain(values))
    with path.open("xb") as file:
        np.savez(file, allow_pickle=False, **{name: np.concatenate(values) for name, values in parts.items()})


def _write_parquet(path: Path, batches: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    pa, pq = _pyarrow(path)
    writer = None
    # Opened with "x", so that a file that appeared in the meantime is not overwritten.
    with path.open("xb") as file, _removed_after_error(path), ExitStack() as stack:
        for batch in batches:
            columns: dict[str, Any] = {}
            for name, values in batch.items():
                if name in VECTORS:
                    flat = values.reshape(len(values), -1)
                    columns |= {f"{name}{number}": flat[:, number] for number in range(flat.shape[1])}
                else:
                    columns[name] = _plain(values)
            table = pa.table(columns)
            writer = writer or stack.enter_context(pq.ParquetWriter(file, table.schema))
            writer.write_table(table)


@contextmanager
def _removed_after_error(path: Path) -> Iterator[None]:
    """Remove a file if the block fails: a part of the codes could be taken for all."""
    try:
        yield
    except BaseException:
        path.unlink()
        raise


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as an array that needs no pickle: objects as strings."""
    return values.astype(str) if values.dtype == object else values


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise AeframeError(
            f"'{path.name}' needs pyarrow, which is not installed; install it with pip install 'aeframe[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet
