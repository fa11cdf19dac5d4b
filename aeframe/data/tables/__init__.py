"""Files of numbers: one row for each sample, in CSV, NPY, NPZ or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from aeframe.data.tables import arrays, parquet, text
from aeframe.data.tables.rows import Choice, Header, Rows, encode_labels
from aeframe.errors import AeframeError, did_you_mean


class _Format(Protocol):
    def header(self, path: Path, choice: Choice) -> Header: ...

    def read(self, path: Path, choice: Choice) -> Rows: ...

    def write(self, path: Path, values: NDArray[Any], columns: Sequence[str] | None) -> None: ...


_FORMATS: dict[str, _Format] = {
    ".csv": text,
    ".csv.gz": text,
    ".tsv": text,
    ".npy": arrays,
    ".npz": arrays,
    ".parquet": parquet,
}


def read_header(path: Path, choice: Choice) -> Header:
    """Return the shape of one row and the names of its columns, without reading the file to its end.

    Raises:
        AeframeError: A file that is missing, empty, of another form, or without what `choice` asks for.
    """
    return _format(_existing(path)).header(path, choice)


def read_rows(path: Path, choice: Choice) -> Rows:
    """Read all rows of a file.

    Raises:
        AeframeError: As `read_header`, and for a cell that is not a number or a row of another length, with its line.
    """
    return _format(_existing(path)).read(path, choice)


def write_rows(path: Path, values: NDArray[Any], columns: Sequence[str] | None) -> None:
    """Write rows ``(N, *shape)``; CSV and Parquet take plain rows ``(N, D)`` only.

    Raises:
        AeframeError: A suffix that is not known, or a shape that the format cannot hold.
    """
    chosen = _format(path)
    if chosen is not arrays and values.ndim != 2:
        raise AeframeError(
            f"'{path.name}' can hold rows of plain numbers, and these have shape {values.shape[1:]}; write .npy or .npz"
        )
    chosen.write(path, values, columns)


def _existing(path: Path) -> Path:
    if path.is_dir():
        raise AeframeError(f"'{path}' is a folder, expected a file ending in {', '.join(_FORMATS)}")
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise AeframeError(f"there is no file '{path}'{did_you_mean(path.name, siblings)}")
    if path.stat().st_size == 0:
        raise AeframeError(f"'{path}' is empty, expected rows of numbers")
    return path


def _format(path: Path) -> _Format:
    name = path.name.lower()
    suffix = next((known for known in _FORMATS if name.endswith(known)), None)
    if suffix is None:
        raise AeframeError(f"'{path.name}' has suffix '{path.suffix}', expected one of {', '.join(_FORMATS)}")
    return _FORMATS[suffix]


__all__ = ["Choice", "Header", "Rows", "encode_labels", "read_header", "read_rows", "write_rows"]
