"""Tables: read and write rows of numbers in text, NPY, NPZ, Parquet and Feather files, one row for each sample."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from aeframe.data.tables import arrays, parquet, text
from aeframe.data.tables.compression import SUFFIXES, TEXT_SUFFIXES, plain_suffix
from aeframe.data.tables.dialect import TextOptions
from aeframe.data.tables.rows import Choice, Header, Rows, encode_labels
from aeframe.errors import AeframeError, did_you_mean


class _Format(Protocol):
    """The functions of each module that reads and writes a format."""

    def header(self, path: Path, choice: Choice) -> Header: ...

    def names(self, path: Path, choice: Choice) -> tuple[str, ...] | None: ...

    def read(self, path: Path, choice: Choice, *, mapped: bool = False, keep_bad: bool = False) -> Rows: ...

    def write(
        self,
        path: Path,
        parts: Iterable[NDArray[Any]],
        num: int,
        columns: Sequence[str] | None,
        names: Sequence[str] | None = None,
        id_column: str = "",
    ) -> None: ...


_FORMATS: dict[str, _Format] = {
    **dict.fromkeys(TEXT_SUFFIXES, text),
    ".npy": arrays,
    ".npz": arrays,
    ".parquet": parquet,
    ".feather": parquet,
}


def read_header(path: Path, choice: Choice) -> Header:
    """Return the shape of a row and the names of its columns, without reading all rows.

    `choice` names the array, the label and the columns to read.

    Raises:
        AeframeError: The file is missing or empty, has another format, or lacks an array or column of `choice`.
    """
    return _format(_existing(path)).header(path, choice)


def column_names(path: Path, choice: Choice) -> tuple[str, ...] | None:
    """Return the names of all columns of a file, also of those that `choice` leaves out; None if they have no names.

    Raises:
        AeframeError: As `read_header`.
    """
    return _format(_existing(path)).names(path, choice)


def read_rows(path: Path, choice: Choice, *, mapped: bool = False, keep_bad: bool = False) -> Rows:
    """Read all rows of a file: the array, the label and the columns that `choice` names.

    With `mapped` the values are `LazyRows`; those of an NPY file are a memory map, of which only used rows are read.
    With `keep_bad` rows of a text file that have another length, or a cell that is not a number, are returned as NaN,
    with a sentence in `Rows.bad`; the caller leaves them out or raises the error.

    Raises:
        AeframeError: As `read_header`; also for a cell that is not a number or a row of another length, with its line.
    """
    return _format(_existing(path)).read(path, choice, mapped=mapped, keep_bad=keep_bad)


def options_like(path: Path, columns: Sequence[str] | None, trained: TextOptions) -> TextOptions:
    """Return how a file is written that is read after training on `columns`; see `text.options_like`."""
    return text.options_like(path, columns, trained) if is_text(path) else trained


def is_text(path: Path) -> bool:
    """Return whether a file is a text table, by its suffix.

    Raises:
        AeframeError: The file is missing or empty, or has another suffix than tables have.
    """
    return _format(_existing(path)) is text


def write_rows(
    path: Path,
    parts: Iterable[NDArray[Any]],
    num: int,
    columns: Sequence[str] | None,
    *,
    names: Sequence[str] | None = None,
    id_column: str = "",
) -> None:
    """Write rows ``(N, *shape)`` while they are computed; only ``(N, D)`` in text, Parquet and Feather.

    The content of the file does not depend on how the rows are divided into parts.

    Args:
        path: The new file.
        parts: Parts ``(n, *shape)`` of the rows, one after another.
        num: The number of rows N in all parts.
        columns: The names of the columns; None without names.
        names: What identifies each row, as the first column or the index; NPY and files without names of columns leave
            them out.
        id_column: The name of the column of `names`, which may be empty.

    Raises:
        AeframeError: The suffix is unknown, or the format cannot store the shape.
    """
    file_format = _format(path)
    if file_format is not arrays:
        tables = map(functools.partial(_as_table, path), parts)
        # The first part is checked before the file is made.
        parts = itertools.chain(list(itertools.islice(tables, 1)), tables)
    file_format.write(path, parts, num, columns, names, id_column)


def _as_table(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """Return rows; raise AeframeError unless they are numbers ``(n, D)``."""
    if values.ndim != 2:
        raise AeframeError(
            f"'{path.name}' can store rows of shape (D,), found shape {values.shape[1:]}; write .npy or .npz"
        )
    return values


def _existing(path: Path) -> Path:
    """Return `path`; raise AeframeError unless it is a file with content."""
    if path.is_dir():
        raise AeframeError(f"'{path}' is a folder, expected a file ending in {', '.join(_FORMATS)}")
    if path.exists() and not path.is_file():
        raise AeframeError(f"'{path}' is a pipe or a device, expected a file; copy its content to a file first")
    if not path.is_file():
        siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
        raise AeframeError(f"there is no file '{path}'{did_you_mean(path.name, siblings)}")
    if path.stat().st_size == 0:
        raise AeframeError(f"'{path}' is empty, expected rows of numbers")
    return path


def _format(path: Path) -> _Format:
    suffix = plain_suffix(path)
    found = _FORMATS.get(suffix)
    if found is None or (found is not text and path.suffix.lower() != suffix):
        raise AeframeError(
            f"'{path.name}' has suffix '{path.suffix}', expected one of {', '.join(_FORMATS)}; text may be compressed "
            f"({', '.join(SUFFIXES)})"
        )
    return found


__all__ = [
    "Choice",
    "Header",
    "Rows",
    "TextOptions",
    "column_names",
    "encode_labels",
    "is_text",
    "options_like",
    "read_header",
    "read_rows",
    "write_rows",
]
