"""NPY and NPZ: arrays ``(N, *shape)``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.arrays import ArrayFile
from aeframe.data.tables.rows import Choice, Header, Rows, check_sizes, listed
from aeframe.errors import AeframeError, did_you_mean
from aeframe.types import Shape


def header(path: Path, choice: Choice) -> Header:
    """Read the array's own header."""
    _no_columns(path, choice)
    file = ArrayFile(path)
    key = _key(file, choice.key)
    return Header(_checked(file, key, *file.header(key))[1:])


def read(path: Path, choice: Choice) -> Rows:
    """Read the array, and the label's array where one is asked for."""
    _no_columns(path, choice)
    file = ArrayFile(path)
    if choice.label is not None and not file.zipped:
        raise AeframeError(f"'{path.name}' holds one array and no label '{choice.label}'; put both into an .npz")
    key = _key(file, choice.key)
    values = file.load(key)
    _checked(file, key, values.shape, values.dtype)
    label = None if choice.label is None else _label(file, choice.label, len(values))
    origin = f"{path.name}, array '{key}'" if file.zipped else path.name
    return check_sizes(path.name, Rows(values, origin, label=label))


def write(path: Path, values: NDArray[Any], columns: Sequence[str] | None) -> None:
    """Write ``(N, *shape)``, in NPZ as array ``x``. The names of columns have no place there."""
    if path.suffix.lower() == ".npy":
        np.save(path, values, allow_pickle=False)
    else:
        np.savez_compressed(path, x=values)


def _key(file: ArrayFile, asked: str | None) -> str:
    """Return the key that is asked for; else ``x``, ``x_test`` or the only one there is."""
    known, name = file.names, file.path.name
    if not file.zipped:
        return known[0]
    if asked in known:
        return asked
    if asked is not None:
        hint = did_you_mean(asked, known)
        raise AeframeError(f"'{name}' has no array '{asked}'{hint}; its arrays are {listed(known) or 'none'}")
    likely = [key for key in ("x", "x_test") if key in known] or known
    if (len(likely) > 1 and likely[0] != "x") or not likely:
        raise AeframeError(f"'{name}' holds the arrays {listed(known) or '(none)'}; say which one with key")
    return likely[0]


def _label(file: ArrayFile, key: str, length: int) -> NDArray[Any]:
    label = file.load(_key(file, key))
    if label.shape != (length,) or label.dtype.kind not in "biufSU":
        raise AeframeError(
            f"label '{key}' of '{file.path.name}' has shape {label.shape} and type {label.dtype}, "
            f"expected ({length},) numbers or strings, one for each row"
        )
    return label


def _checked(file: ArrayFile, key: str, shape: Shape, dtype: np.dtype[Any]) -> Shape:
    what = f"array '{key}' of '{file.path.name}'" if file.zipped else f"'{file.path.name}'"
    if dtype.kind not in "biuf":
        raise AeframeError(f"{what} holds values of type {dtype}, expected numbers")
    if len(shape) < 2:
        raise AeframeError(f"{what} has shape {shape}, expected (samples, values) or more dimensions")
    return shape


def _no_columns(path: Path, choice: Choice) -> None:
    if choice.columns is not None:
        raise AeframeError(f"'{path.name}' has no named columns; leave columns out, or use CSV or Parquet")
