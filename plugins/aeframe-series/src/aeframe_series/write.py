"""Write series, and what a model says of them."""

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


def write_series(path: Path, values: NDArray[np.float64], columns: Sequence[str] | None) -> list[Path]:
    """Write rows ``(N, D)`` as the suffix says: CSV, TSV, NPY, NPZ or Parquet."""
    return _whole(path, lambda partial: write_rows(partial, values, columns))


def write_columns(path: Path, columns: Mapping[str, NDArray[Any]]) -> list[Path]:
    """Write columns ``(N,)``, words or numbers: CSV (also ``.csv.gz``), or NPZ with an array for each.

    Raises:
        AeframeError: Another suffix, or a file that exists.
    """
    name = path.name.lower()
    if name.endswith(".npz"):
        return _whole(path, lambda partial: np.savez_compressed(partial, allow_pickle=False, **columns))
    if not name.endswith((".csv", ".csv.gz")):
        raise AeframeError(f"'{path.name}' has suffix '{path.suffix}', expected .csv, .csv.gz or .npz")
    return _whole(path, lambda partial: _write_csv(partial, columns))


def _write_csv(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        # What is not known is an empty cell.
        texts = [["" if text == "nan" else text for text in column.astype(str).tolist()] for column in columns.values()]
        writer.writerows(zip(*texts, strict=True))


def _whole(path: Path, write: Callable[[Path], None]) -> list[Path]:
    """Write a file beside its place and move it there, so that nobody finds a half of it."""
    if path.exists():
        raise AeframeError(f"'{path}' exists, and nothing is overwritten; remove it, or write elsewhere")
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        # Under its own name, so that a sentence about it names what was asked for.
        partial = Path(folder, path.name)
        write(partial)
        partial.rename(path)
    return [path]
