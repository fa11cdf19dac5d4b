"""Read and write codes with what identifies their samples, as NPZ or Parquet."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.cli.rows_file import check_pyarrow, gathered, without_objects, write_parquet
from aeframe.errors import AeframeError, did_you_mean, first_sentence

SUFFIXES = (".npz", ".parquet")
VECTORS = ("z", "codes")
"""Arrays of numbers for each sample; the others have one value for each."""


def check_suffix(path: Path) -> None:
    """Raise AeframeError unless codes can be stored in the format of the suffix."""
    if path.suffix.lower() not in SUFFIXES:
        raise AeframeError(f"codes are stored as NPZ or Parquet, found '{path}'; choose a name that ends in .npz")
    check_pyarrow(path)


def write_codes(path: Path, batches: Iterable[Mapping[str, NDArray[Any]]], num: int) -> None:
    """Write batches of codes as one new file.

    An NPZ file has one array ``(N, ...)`` for each name. A Parquet file has one row for each sample, and a column for
    each number of ``z`` and ``codes``: ``z0``, ``z1``, ... in the order of the flattened code. Parquet is written while
    the batches are computed, so that memory does not grow with their number.

    Args:
        path: A file that ends in ``.npz`` or ``.parquet``.
        batches: The arrays ``(B, ...)`` of each batch by name; all batches have the same names.
        num: The number of samples N in all batches.
    """
    if path.suffix.lower() == ".parquet":
        write_parquet(path, (_flat(batch) for batch in batches))
        return
    arrays = gathered(batches, num)
    with path.open("xb") as file:
        np.savez(file, allow_pickle=False, **{name: without_objects(values) for name, values in arrays.items()})


def read_codes(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], list[str] | None]:
    """Return codes ``(N, *shape)``, and the names of their samples if the file has them.

    Args:
        path: An NPZ file with the array ``z``, or a Parquet file with the columns ``z0``, ``z1``, ...
        shape: The shape of one code.

    Raises:
        AeframeError: The file is missing or damaged, or has no codes of this shape.
    """
    check_suffix(path)
    if not path.is_file():
        siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
        raise AeframeError(f"there is no file '{path}'{did_you_mean(path.name, siblings)}")
    num = math.prod(shape)
    arrays, found = _parquet_arrays(path, num) if path.suffix.lower() == ".parquet" else _npz_arrays(path)
    z = arrays.get("z")
    if z is None or z.dtype.kind not in "fiu" or z.ndim == 0 or z[0:1].size != num or len(z) == 0:
        raise AeframeError(
            f"'{path.name}' has {found}, expected codes z of shape (N, {', '.join(map(str, shape))}), as encode writes "
            "them with this model"
        )
    names = arrays.get("name")
    return z.reshape(-1, *shape).astype(np.float32), None if names is None else [str(name) for name in names]


def _npz_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], str]:
    """Return the arrays ``z`` and ``name`` of a file, and what error messages say of its content."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("z", "name") if name in file.files}
            found = f"z {arrays['z'].shape}" if "z" in arrays else f"the arrays {', '.join(file.files)}"
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise AeframeError(f"'{path}' cannot be read as NPZ ({first_sentence(error)}); copy it again") from error
    return arrays, found


def _parquet_arrays(path: Path, num: int) -> tuple[dict[str, NDArray[Any]], str]:
    """Return ``z`` from `num` columns and ``name``, and what error messages say of the content."""
    # `check_suffix` has found pyarrow.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise AeframeError(f"'{path}' cannot be read as Parquet ({first_sentence(error)}); copy it again") from error
    known = [f"z{number}" for number in range(num) if f"z{number}" in table.column_names]
    arrays = {"name": table["name"].to_numpy()} if "name" in table.column_names else {}
    if len(known) == num and f"z{num}" not in table.column_names:
        arrays["z"] = np.stack([table[name].to_numpy() for name in known], 1)
    return arrays, f"the columns {', '.join(table.column_names[:8])}"


def _flat(batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return a batch with a column ``(B,)`` for each number of the codes."""
    columns: dict[str, NDArray[Any]] = {}
    for name, values in batch.items():
        if name in VECTORS:
            flat = values.reshape(len(values), -1)
            columns |= {f"{name}{number}": flat[:, number] for number in range(flat.shape[1])}
        else:
            columns[name] = values
    return columns
