"""NPZ files whose arrays have names: `read`."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.data.file_samples import OnError
from aeframe.errors import AeframeError, first_sentence
from aeframe_tabular.reading.checks import checked
from aeframe_tabular.reading.memory import stacked_names
from aeframe_tabular.reading.plain_columns import plain_frame
from aeframe_tabular.reading.selection import chosen_columns
from aeframe_tabular.reading.table import RawTable, TableOptions


def read(path: Path, options: TableOptions, on_error: OnError) -> RawTable:
    """Read an NPZ file; see `aeframe_tabular.reading.read_frame`.

    It holds one array ``(N,)`` for each column, one structured array ``(N,)``, or ``x`` ``(N, D)`` and the D names in
    ``columns``.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise AeframeError(f"'{path}' cannot be read as .npz ({first_sentence(error)})") from None
    columns = _columns(path, arrays)
    names = [name for name, _ in columns]
    chosen = chosen_columns(f"'{path.name}'", names, options)
    frame = pd.DataFrame({names[number]: columns[number][1] for number in chosen})
    plain, notes = plain_frame(frame, f"'{path.name}'", options.missing, parse=True)
    return checked(RawTable(plain, path.name, notes, options=options), on_error)


def _columns(path: Path, arrays: dict[str, NDArray[Any]]) -> list[tuple[str, NDArray[Any]]]:
    """Return the names and values of the columns in arrays.

    Raises:
        AeframeError: The arrays have other shapes, or different lengths.
    """
    structured = [array for array in arrays.values() if array.dtype.names]
    if len(arrays) == 1 and structured:
        [array] = structured
        return [(name, array[name]) for name in array.dtype.names or ()]
    if "x" in arrays and arrays["x"].ndim == 2:
        x = arrays["x"]
        if "columns" not in arrays:
            raise AeframeError(
                f"'{path.name}' has an array 'x' {x.shape} without names of its columns; add them as 'columns', or use "
                "data=numbers"
            )
        return [*zip(stacked_names(arrays["columns"].astype(str).tolist(), x.shape[1], path.name), x.T, strict=True)]
    wrong = next((name for name, array in arrays.items() if array.ndim != 1 or array.dtype.names), None)
    if wrong is not None or not arrays:
        found = "no array" if wrong is None else f"'{wrong}' {arrays[wrong].shape}"
        raise AeframeError(
            f"'{path.name}' has {found}, expected one array (N,) for each column, a structured array, or 'x' (N, D) "
            "with names 'columns'"
        )
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {num}" for name, num in [*lengths.items()][:6])
        raise AeframeError(f"'{path.name}' has columns of different lengths ({shown}), expected as many rows in each")
    return [*arrays.items()]
