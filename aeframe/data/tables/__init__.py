"""Tables: read and write rows of numbers in CSV, TSV, NPY, NPZ and Parquet, one row for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from aeframe.data.tables import arrays, parquet, text
from aeframe.data.tables.rows import Choice, Header, Rows, encode_labels
from aeframe.errors import AeframeError, did_you_mean


class _Format(Protocol):
    """The functions of each module that reads and writes a format."""

    def header(self, path: Path, choice: Choice) -> Header: ...

    def read(self, path: Path, choice: Choice, *, mapped: bool = False) -> Rows: ...

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
    """Return the shape of a row and the names of its columns, without reading all rows.

    `choice` names the array, the label and the columns to read.

    Raises:
        AeframeError: The file is missing or empty, has another format, or lacks an array or column of `choice`.
    """
    return _format(_existing(path)).header(path, choice)


def read_rows(path: Path, choice: Choice, *, mapped: bool = False) -> Rows:
    """Read all rows of a file: the array, the label and the columns that `choice` names.

    With `mapped` the values of an NPY file are `LazyRows` of a memory map, of which only used rows are read.

    Raises:
        AeframeError: As `read_header`; also for a cell that is not a number or a row of another length, with its line.
    """
    return _format(_existing(path)).read(path, choice, mapped=mapped)


def infer_header(path: Path, columns: Sequence[str] | None) -> bool | None:
    """Return True if the first line of a text file has all the names `columns`; None if its lines have to decide.

    For files that are read as the training data were, whose names may be numbers.
    """
    return True if _format(_existing(path)) is text and columns and {*columns} <= {*text.first_cells(path)} else None


def write_rows(path: Path, values: NDArray[Any], columns: Sequence[str] | None) -> None:
    """Write rows ``(N, *shape)``; only ``(N, D)`` in CSV, TSV and Parquet.

    Raises:
        AeframeError: The suffix is unknown, or the format cannot store the shape.
    """
    file_format = _format(path)
    if file_format is not arrays and values.ndim != 2:
        raise AeframeError(
            f"'{path.name}' can store rows of shape (D,), found shape {values.shape[1:]}; write .npy or .npz"
        )
    file_format.write(path, values, columns)


def _existing(path: Path) -> Path:
    """Return `path`; raise AeframeError unless it is a file with content."""
    if path.is_dir():
        raise AeframeError(f"'{path}' is a folder, expected a file ending in {', '.join(_FORMATS)}")
    if not path.is_file():
        siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
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


__all__ = ["Choice", "Header", "Rows", "encode_labels", "infer_header", "read_header", "read_rows", "write_rows"]
