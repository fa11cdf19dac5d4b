"""NPY and NPZ: arrays ``(N, *shape)``. Nothing that holds pickled objects is opened."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from aeframe.batch import Shape
from aeframe.data.tables.rows import Choice, Header, Rows, check_sizes, listed
from aeframe.errors import AeframeError, did_you_mean

_BROKEN = (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError)


def header(path: Path, choice: Choice) -> Header:
    """Read the array's own header."""
    _no_columns(path, choice)
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return Header(_checked(path, None, *_shape_and_type(path, file))[1:])
    key = _key(path, choice.key)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            found = _shape_and_type(path, member)
    except zipfile.BadZipFile as error:
        raise AeframeError(f"'{path}' cannot be read as .npz ({error})") from None
    return Header(_checked(path, key, *found)[1:])


def read(path: Path, choice: Choice) -> Rows:
    """Read the array, and the label's array where one is asked for."""
    _no_columns(path, choice)
    if path.suffix.lower() == ".npy":
        if choice.label is not None:
            raise AeframeError(f"'{path.name}' holds one array and no label '{choice.label}'; put both into an .npz")
        values = _load(path, None)
        _checked(path, None, values.shape, values.dtype)
        return check_sizes(path.name, Rows(values, path.name))
    key = _key(path, choice.key)
    values = _load(path, key)
    _checked(path, key, values.shape, values.dtype)
    label = None if choice.label is None else _label(path, choice.label, len(values))
    return check_sizes(path.name, Rows(values, f"{path.name}, array '{key}'", label=label))


def write(path: Path, values: NDArray[Any], columns: Sequence[str] | None) -> None:
    """Write ``(N, *shape)``, in NPZ as array ``x``. The names of columns have no place there."""
    if path.suffix.lower() == ".npy":
        np.save(path, values, allow_pickle=False)
    else:
        np.savez_compressed(path, x=values)


def keys(path: Path) -> list[str]:
    """Return the names of an NPZ file's arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except zipfile.BadZipFile as error:
        raise AeframeError(f"'{path}' cannot be read as .npz ({error})") from None


def _key(path: Path, asked: str | None) -> str:
    """Return the key that is asked for; else ``x``, ``x_test`` or the only one there is."""
    known = keys(path)
    if asked in known:
        return asked
    if asked is not None:
        hint = did_you_mean(asked, known)
        raise AeframeError(f"'{path.name}' has no array '{asked}'{hint}; its arrays are {listed(known) or 'none'}")
    likely = [key for key in ("x", "x_test") if key in known] or known
    if (len(likely) > 1 and likely[0] != "x") or not likely:
        raise AeframeError(f"'{path.name}' holds the arrays {listed(known) or '(none)'}; say which one with key")
    return likely[0]


def _shape_and_type(path: Path, file: Any) -> tuple[Shape, np.dtype[Any]]:
    try:
        version = npy_format.read_magic(file)
        reader = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = reader(file)
    except ValueError as error:
        raise AeframeError(f"'{path}' cannot be read as a NumPy array ({error})") from None
    return tuple(shape), dtype


def _load(path: Path, key: str | None) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            opened = np.load(file, allow_pickle=False)
            array: NDArray[Any] = opened if key is None else opened[key]
    except _BROKEN as error:
        what = f"array '{key}' of '{path}'" if key else f"'{path}'"
        raise AeframeError(f"{what} cannot be read as a NumPy array ({error})") from None
    return array


def _label(path: Path, key: str, length: int) -> NDArray[Any]:
    label = _load(path, _key(path, key))
    if label.shape != (length,) or label.dtype.kind not in "biufSU":
        raise AeframeError(
            f"label '{key}' of '{path.name}' has shape {label.shape} and type {label.dtype}, "
            f"expected ({length},) numbers or strings, one for each row"
        )
    return label


def _checked(path: Path, key: str | None, shape: Shape, dtype: np.dtype[Any]) -> Shape:
    what = f"array '{key}' of '{path.name}'" if key else f"'{path.name}'"
    if dtype.kind not in "biuf":
        raise AeframeError(f"{what} holds values of type {dtype}, expected numbers")
    if len(shape) < 2:
        raise AeframeError(f"{what} has shape {shape}, expected (samples, values) or more dimensions")
    return shape


def _no_columns(path: Path, choice: Choice) -> None:
    if choice.columns is not None:
        raise AeframeError(f"'{path.name}' has no named columns; leave columns out, or use CSV or Parquet")
