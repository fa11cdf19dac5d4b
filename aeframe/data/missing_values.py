"""What modalities of tables share to fill missing values: `masked_elements`, `count_by_column`, `fill_missing`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.samples import is_frame, names_of_columns
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch


def masked_elements(batch: Batch) -> Tensor:
    """Return ``(B, *shape)``: True where the mask is False."""
    if batch.mask is None:
        return torch.zeros(batch.x.shape, dtype=torch.bool, device=batch.x.device)
    return ~broadcast_mask(batch.mask, batch.x.ndim).expand(batch.x.shape)


def count_by_column(missing: Tensor, columns: Sequence[str]) -> dict[str, int]:
    """Return the number of True in each column of ``(N, D)`` by its name, for columns that have any."""
    return {name: count for name, count in zip(columns, missing.sum(0).tolist(), strict=True) if count}


def fill_missing(
    original: Any, values: NDArray[Any], missing: NDArray[np.bool_], columns: Sequence[str] | None
) -> Any | None:
    """Return a copy of a data frame of pandas or an array with `values` where `missing`; None for other objects.

    Args:
        original: Rows. Its other columns, and its other cells, stay as they are.
        values: ``(N, *shape)`` in the unit of the original.
        missing: ``(N, *shape)``.
        columns: The names of the D columns of `values`; None without names.
    """
    if isinstance(original, np.ndarray):
        kept = original if original.dtype.kind == "f" else original.astype(np.float64)
        return np.where(missing, values, kept).astype(kept.dtype)
    if not is_frame(original) or not hasattr(original, "iloc") or columns is None:
        return None
    frame = original.copy()
    positions = {name: number for number, name in enumerate(names_of_columns(frame))}
    for column, (name, gaps) in enumerate(zip(columns, missing.T, strict=True)):
        if gaps.any():
            fill_column(frame, positions[name], gaps, values[gaps, column])
    return frame


def fill_column(frame: Any, position: int, gaps: NDArray[np.bool_], values: Any) -> None:
    """Set the cells `gaps` ``(N,)`` of a column of a data frame of pandas, in place; integers may become float64."""
    import pandas as pd

    column = frame.iloc[:, position].copy()
    new = pd.Series(values)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.add_categories([each for each in new.unique() if each not in column.cat.categories])
    is_fraction = pd.api.types.is_float_dtype(new.dtype) and bool((new % 1 != 0).any())
    if pd.api.types.is_integer_dtype(column.dtype) and is_fraction:
        column = column.astype("Float64")
    column.iloc[np.flatnonzero(gaps)] = new.tolist()
    frame.isetitem(position, column)
