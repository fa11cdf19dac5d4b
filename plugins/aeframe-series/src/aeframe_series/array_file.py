"""NPY and NPZ arrays that are series: ``(time steps,)`` of one column, and ``(series, time steps, columns)``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.arrays import ArrayFile
from aeframe.data.lazy_rows import LazyRows
from aeframe.data.limits import check_memory
from aeframe.data.tables import Header, Rows
from aeframe.errors import AeframeError


@dataclass(slots=True)
class SeriesArray:
    """Series in an array, as rows ``(N, D)`` one series after another."""

    rows: Rows
    ids: NDArray[Any] | None
    """``(N,)`` the number of the series of each row; None for one series."""
    notes: list[str] = field(default_factory=list)
    """What was changed."""


def array_header(path: Path, key: str | None) -> Header | None:
    """Return the number of columns of an array of one or three dimensions; None for any other file."""
    if path.suffix.lower() not in (".npy", ".npz") or not path.is_file() or path.stat().st_size == 0:
        return None
    file = ArrayFile(path)
    name = _key(file, key)
    if name is None:
        return None
    shape, dtype = file.header(name)
    if dtype.kind not in "biuf" or len(shape) not in (1, 3) or 0 in shape:
        return None
    return Header((1 if len(shape) == 1 else shape[2],))


def read_array(path: Path, key: str | None, *, mapped: bool = False) -> SeriesArray:
    """Read an array for which `array_header` returns its columns; with `mapped` an NPY file is mapped into memory."""
    file = ArrayFile(path)
    name = _key(file, key)
    assert name is not None
    shape, dtype = file.header(name)
    is_mapped = mapped and not file.is_npz
    if not is_mapped:
        check_memory(f"'{path.name}'", float(np.prod(shape)) * dtype.itemsize, f"an array of shape {shape}")
    return series_of_array(file.load(name, mapped=is_mapped), path.name, is_mapped=is_mapped)


def series_of_array(values: NDArray[Any], origin: str, *, is_mapped: bool = False) -> SeriesArray:
    """Return the series in an array ``(T,)`` or ``(S, T, D)``; rows of NaN at the end of a series are its padding."""
    if values.ndim == 1:
        column = values[:, None]
        return SeriesArray(Rows(LazyRows(column) if is_mapped else column, origin), None)
    num_series, length, num_columns = values.shape
    lengths = np.full(num_series, length)
    if values.dtype.kind == "f":
        for number in range(num_series):
            known = np.flatnonzero(~np.isnan(values[number]).all(axis=1))
            lengths[number] = known[-1] + 1 if len(known) else 0
    flat = values.reshape(num_series * length, num_columns)
    series_of_row, step = np.divmod(np.arange(len(flat)), length)
    notes = [f"'{origin}' has the shape {values.shape}: {num_series} series of {length} time steps"]
    rows = Rows(LazyRows(flat) if is_mapped else flat, origin)
    if (lengths < length).any():
        import torch

        kept = np.flatnonzero(step < lengths[series_of_row])
        if not len(kept):
            raise AeframeError(f"'{origin}' has no values but NaN; expected numbers")
        rows, series_of_row = rows.rows(torch.from_numpy(kept)), series_of_row[kept]
        notes.append(
            f"'{origin}': {len(flat) - len(kept)} rows of NaN at the end of {int((lengths < length).sum())} series are "
            "left out as padding"
        )
    return SeriesArray(rows, series_of_row, notes)


def other_array(path: Path, name: str, length: int) -> NDArray[Any]:
    """Return an array of an NPZ file with one value for each row: times, flags or the names of series.

    Raises:
        AeframeError: There is no such array, or it has another length.
    """
    file = ArrayFile(path)
    if name not in file.names:
        raise AeframeError(f"'{path.name}' has no array '{name}'; its arrays are {', '.join(file.names)}")
    values = file.load(name)
    if values.shape != (length,):
        raise AeframeError(
            f"array '{name}' of '{path.name}' has shape {values.shape}, expected ({length},), one value for each row"
        )
    return values


def _key(file: ArrayFile, key: str | None) -> str | None:
    """Return the name of the array of x; None if it is in doubt."""
    if not file.is_npz:
        return file.names[0]
    if key is not None:
        return key if key in file.names else None
    return "x" if "x" in file.names else file.names[0] if len(file.names) == 1 else None
