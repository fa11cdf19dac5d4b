"""NPY and NPZ files as tables: arrays ``(N, *shape)``.

In all functions, `choice` names the array (in NPZ) and the label to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.array_batches import write_npy, write_npz
from aeframe.data.arrays import ArrayFile
from aeframe.data.lazy_rows import LazyRows
from aeframe.data.tables.cells import CellReader
from aeframe.data.tables.rows import Choice, Header, Rows, check_not_empty, listed
from aeframe.errors import AeframeError, did_you_mean
from aeframe.types import Shape


def header(path: Path, choice: Choice) -> Header:
    """Return the shape of a row, from the header of the array."""
    _check_no_columns(path, choice)
    file = ArrayFile(path)
    key = _key(file, choice.key)
    return Header(_check_array(file, key, *file.header(key))[1:])


def names(path: Path, choice: Choice) -> tuple[str, ...] | None:
    """Return None: arrays have no names of columns."""
    return None


def read(path: Path, choice: Choice, *, mapped: bool = False, keep_bad: bool = False) -> Rows:
    """Read the array and the label that `choice` names."""
    _check_no_columns(path, choice)
    file = ArrayFile(path)
    for what, name in (("label", choice.label), ("id", choice.id), *(("column", name) for name in choice.others)):
        if name is not None and not file.is_npz:
            raise AeframeError(f"'{path.name}' holds one array and no {what} '{name}'; put both into an .npz")
    key = _key(file, choice.key)
    values = file.load(key, mapped=mapped)
    _check_array(file, key, values.shape, values.dtype)
    label = None if choice.label is None else _read_label(file, choice.label, len(values))
    row_names = None if choice.id is None else _read_label(file, choice.id, len(values), "id").astype(str)
    lazy: NDArray[Any] | LazyRows = LazyRows(values) if mapped else values
    notes = []
    marks = CellReader(".", choice.text.missing)
    if marks.numbers:
        # A copy: marks can be replaced in memory only.
        lazy = marks.without_marks(np.array(values, values.dtype if values.dtype.kind == "f" else np.float64))
        notes = [f"'{path.name}': {int(np.isnan(lazy).sum())} of {lazy.size} numbers are missing"]
    return check_not_empty(
        path.name,
        Rows(
            lazy,
            f"{path.name}, array '{key}'" if file.is_npz else path.name,
            label=label,
            names=row_names,
            id_column=choice.id,
            others={name: _read_label(file, name, len(values), "column", max_ndim=2) for name in choice.others},
            notes=tuple(notes),
        ),
    )


def write(
    path: Path,
    parts: Iterable[NDArray[Any]],
    num: int,
    columns: Sequence[str] | None,
    names: Sequence[str] | None = None,
    id_column: str = "",
) -> None:
    """Write ``(N, *shape)``, in NPZ as array ``x``, and `names` as array `id_column`; column names are not stored."""
    if path.suffix.lower() == ".npy":
        write_npy(path, parts, num)
    elif names is None:
        write_npz(path, "x", parts, num)
    else:
        write_npz(path, "x", parts, num, after={id_column if id_column not in ("", "x") else "name": np.array(names)})


def write_replaced(
    original: Path, path: Path, choice: Choice, replaced: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    """Write a copy of a file whose array that `choice` names is what `replaced` returns of it."""
    file = ArrayFile(original)
    key = _key(file, choice.key)
    values = replaced(file.load(key))
    if not file.is_npz:
        np.save(path, values, allow_pickle=False)
        return
    others = {name: file.load(name) for name in file.names}
    np.savez_compressed(path, allow_pickle=False, **{**others, key: values})


def _key(file: ArrayFile, key: str | None) -> str:
    """Return the name of the array to read: `key`, or if it is None ``x``, ``x_test`` or the only array."""
    known, name = file.names, file.path.name
    if not file.is_npz:
        return known[0]
    if key in known:
        return key
    if key is not None:
        hint = did_you_mean(key, known)
        raise AeframeError(f"'{name}' has no array '{key}'{hint}; its arrays are {listed(known) or 'none'}")
    candidates = [candidate for candidate in ("x", "x_test") if candidate in known] or known
    if (len(candidates) > 1 and candidates[0] != "x") or not candidates:
        raise AeframeError(f"'{name}' has the arrays {listed(known) or '(none)'}; choose one with key")
    return candidates[0]


def _read_label(file: ArrayFile, key: str, length: int, what: str = "label", *, max_ndim: int = 1) -> NDArray[Any]:
    label = file.load(_key(file, key))
    # Kinds of dtype: as in `_check_array`, and byte and Unicode strings.
    if not 1 <= label.ndim <= max_ndim or len(label) != length or label.dtype.kind not in "biufSU":
        raise AeframeError(
            f"{what} '{key}' of '{file.path.name}' has shape {label.shape} and type {label.dtype}, "
            f"expected ({length},) numbers or strings, one for each row"
        )
    return label


def _check_array(file: ArrayFile, key: str, shape: Shape, dtype: np.dtype[Any]) -> Shape:
    """Return `shape`; raise AeframeError unless the array holds numbers in at least two dimensions."""
    what = f"array '{key}' of '{file.path.name}'" if file.is_npz else f"'{file.path.name}'"
    # Kinds of dtype: booleans, signed and unsigned integers, floating-point numbers.
    if dtype.kind not in "biuf":
        raise AeframeError(f"{what} has dtype {dtype}, expected numbers")
    if len(shape) < 2:
        raise AeframeError(f"{what} has shape {shape}, expected (samples, values) or more dimensions")
    return shape


def _check_no_columns(path: Path, choice: Choice) -> None:
    if choice.columns is not None:
        raise AeframeError(f"'{path.name}' has no named columns; leave columns out, or use CSV or Parquet")
