"""Scaling of columns: fitted on the training split by scikit-learn, undone when samples are written."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.lazy_rows import LazyRows

Scale = Literal["none", "standard", "minmax"]
_CHUNK = 1 << 20
"""Number of values that are converted to double precision at a time."""


@dataclass(frozen=True, slots=True)
class Scaler:
    """The map ``x = (value - offset) / factor``, element by element; missing values (NaN) stay missing.

    Its state is two arrays instead of a fitted scikit-learn object, which could only be saved as a pickle.
    """

    offset: NDArray[np.float64]
    """``(*shape)``"""
    factor: NDArray[np.float64]
    """``(*shape)``, never zero: 1 for an element that is constant or always missing."""

    @classmethod
    def standard(cls, values: NDArray[Any] | LazyRows) -> Self:
        """Return the scaler to mean 0 and standard deviation 1 (with divisor N), fitted for each element of
        ``(N, *shape)``.
        """
        from sklearn.preprocessing import StandardScaler

        fitted = _fitted(StandardScaler, values)
        return cls._from_blocks(
            values,
            [np.nan_to_num(scaler.mean_, nan=0.0) for scaler in fitted],
            [np.nan_to_num(scaler.scale_, nan=1.0) for scaler in fitted],
        )

    @classmethod
    def minmax(cls, values: NDArray[Any] | LazyRows, low: float, high: float) -> Self:
        """Return the scaler to the range from `low` to `high`, fitted for each element of ``(N, *shape)``."""
        from sklearn.preprocessing import MinMaxScaler

        fitted = _fitted(MinMaxScaler, values)
        minima = [np.nan_to_num(scaler.data_min_, nan=0.0) for scaler in fitted]
        ranges = [np.where(scaler.data_range_ > 0, scaler.data_range_, high - low) for scaler in fitted]
        factors = [value_range / (high - low) for value_range in ranges]
        offsets = [minimum - low * factor for minimum, factor in zip(minima, factors, strict=True)]
        return cls._from_blocks(values, offsets, factors)

    def apply(self, values: NDArray[Any] | LazyRows) -> NDArray[np.float32]:
        """Return scaled values ``(N, *shape)``, computed in double precision."""
        scaled = np.empty(values.shape, np.float32)
        start = 0
        # Values too large for single precision become infinite; the modality refuses them when it checks the data.
        with np.errstate(over="ignore"):
            for rows in _row_chunks(values):
                # In place, since values are twice as large in double precision.
                rows -= self.offset
                rows /= self.factor
                scaled[start : start + len(rows)] = rows
                start += len(rows)
        return scaled

    def undo(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return ``(N, *shape)`` in the unit of the file."""
        return x.astype(np.float64) * self.factor + self.offset

    def state(self) -> dict[str, Tensor]:
        """Return offset and factor as tensors."""
        return {"offset": torch.from_numpy(self.offset.copy()), "factor": torch.from_numpy(self.factor.copy())}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the scaler that `state` describes."""
        return cls(*(torch.as_tensor(state[name], dtype=torch.float64).numpy() for name in ("offset", "factor")))

    @classmethod
    def _from_blocks(
        cls, values: NDArray[Any] | LazyRows, offsets: list[NDArray[np.float64]], factors: list[NDArray[np.float64]]
    ) -> Self:
        """Return the scaler of `values` ``(N, *shape)`` from offset and factor of each block of `_column_blocks`."""
        return cls(*(np.concatenate(blocks).reshape(values.shape[1:]) for blocks in (offsets, factors)))


def _fitted(scaler: Callable[[], Any], values: NDArray[Any] | LazyRows) -> list[Any]:
    """Return scalers of scikit-learn that are fitted to blocks of the elements of ``(N, *shape)``."""
    if isinstance(values, LazyRows) and not values.has_fast_columns:
        # The rows are read once; a pass for each block of elements would read the whole file each time.
        by_rows = scaler()
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
            for _, rows in values.chunks():
                by_rows.partial_fit(rows.reshape(len(rows), -1).astype(np.float64))
        return [by_rows]
    return [scaler().fit(columns) for columns in _column_blocks(values)]


def _column_blocks(values: NDArray[Any] | LazyRows) -> Iterator[NDArray[np.float64]]:
    """Yield the elements of ``(N, *shape)`` as blocks ``(N, columns)`` of at most `_CHUNK` values where possible."""
    num_elements = math.prod(values.shape[1:])
    width = max(1, _CHUNK // max(1, len(values)))
    lazy = values if isinstance(values, LazyRows) else LazyRows(values)
    # scikit-learn warns of columns that have missing values only.
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        for start in range(0, num_elements, width):
            yield lazy.flat_columns(start, start + width).astype(np.float64)


def _row_chunks(values: NDArray[Any] | LazyRows) -> Iterator[NDArray[np.float64]]:
    """Yield ``(N, *shape)`` as blocks of rows of at most `_CHUNK` values where possible."""
    rows = max(1, _CHUNK // max(1, values[0].size)) if len(values) else 1
    for start in range(0, len(values), rows):
        yield values[start : start + rows].astype(np.float64)
