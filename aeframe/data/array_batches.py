"""Regroup arrays that are computed by batch, and write them as NPY and NPZ while they are computed."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

_GROUP_VALUES = 1 << 23
_GROUP_ROWS = 1 << 16


def regrouped(parts: Iterable[NDArray[Any]], size: int) -> Iterator[NDArray[Any]]:
    """Yield the rows ``(n, ...)`` of all parts in parts of exactly `size` rows, and the rest as the last.

    What is written of them does then not depend on the size of the batches that were computed.
    """
    waiting: list[NDArray[Any]] = []
    num = 0
    for part in parts:
        start = 0
        while len(part) - start >= size - num:
            waiting.append(part[start : start + size - num])
            start += size - num
            yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            waiting, num = [], 0
        if start < len(part):
            waiting.append(part[start:])
            num += len(part) - start
        del part
    if waiting:
        yield np.concatenate(waiting)


def row_groups(parts: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield the rows ``(n, D)`` of all parts in the groups of a Parquet file: fewer rows if they have more columns."""
    iterator = iter(parts)
    first = next(iterator)
    size = max(1, min(_GROUP_ROWS, _GROUP_VALUES // max(1, first.shape[1])))
    return regrouped(itertools.chain([first], iterator), size)


def write_npy(path: Path, parts: Iterable[NDArray[Any]], num: int) -> None:
    """Write an array of `num` rows, whose parts ``(n, ...)`` are computed one after another, as a new NPY file."""
    with path.open("xb") as file:
        _write_array(file, parts, num)


def write_npz(
    path: Path,
    name: str,
    parts: Iterable[NDArray[Any]],
    num: int,
    *,
    before: Mapping[str, NDArray[Any]] | None = None,
    after: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write a new compressed NPZ file, as `numpy.savez_compressed` does, with an array that is computed by part.

    Args:
        path: The file.
        name: The name of the array.
        parts: Its parts ``(n, ...)``.
        num: The number of rows in all parts.
        before: Arrays that are written before it.
        after: Arrays that are written after it.
    """
    with path.open("xb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, values in (before or {}).items():
            _write_member(archive, each, [values], len(values))
        _write_member(archive, name, parts, num)
        for each, values in (after or {}).items():
            _write_member(archive, each, [values], len(values))


def _write_member(archive: zipfile.ZipFile, name: str, parts: Iterable[NDArray[Any]], num: int) -> None:
    # The size is not known before the array is complete, and may be above 4 GB.
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        _write_array(member, parts, num)


def _write_array(file: IO[bytes], parts: Iterable[NDArray[Any]], num: int) -> None:
    is_begun = False
    for part in parts:
        if not is_begun:
            header = {
                "descr": npy_format.dtype_to_descr(part.dtype),
                "fortran_order": False,
                "shape": (num, *part.shape[1:]),
            }
            npy_format.write_array_header_1_0(file, header)
            is_begun = True
        file.write(part.tobytes())
