"""Scaling of columns, learned on the training split and undone when samples are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Scale = Literal["none", "standard", "minmax"]
_CHUNK = 1 << 20
"""Values that are held in double precision at a time."""


@dataclass(frozen=True, slots=True)
class Scaler:
    """``x = (value - offset) / factor``, element by element; what is missing (NaN) is left out of the statistics."""

    offset: NDArray[np.float64]
    """``(*shape)``"""
    factor: NDArray[np.float64]
    """``(*shape)``, never zero: an element that never varies is only moved."""

    @classmethod
    def standard(cls, values: NDArray[Any]) -> Self:
        """Give each element of ``(N, *shape)`` mean 0 and standard deviation 1 (divided by N)."""
        count, total = np.zeros(values.shape[1:]), np.zeros(values.shape[1:])
        for chunk in _chunks(values):
            count += (~np.isnan(chunk)).sum(0)
            total += np.nansum(chunk, 0)
        count = np.maximum(count, 1)
        mean = total / count
        squares = np.zeros_like(mean)
        for chunk in _chunks(values):
            squares += np.nansum((chunk - mean) ** 2, 0)
        deviation = np.sqrt(squares / count)
        # The mean of equal numbers is rounded, so that they can seem to vary by some units in the last place.
        constant = deviation <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, deviation))

    @classmethod
    def minmax(cls, values: NDArray[Any], low: float, high: float) -> Self:
        """Let each element of ``(N, *shape)`` reach from `low` to `high`."""
        least, most = np.full(values.shape[1:], np.inf), np.full(values.shape[1:], -np.inf)
        for chunk in _chunks(values):
            least = np.fmin(least, np.fmin.reduce(chunk, 0))
            most = np.fmax(most, np.fmax.reduce(chunk, 0))
        unseen = least > most
        least, most = np.where(unseen, 0.0, least), np.where(unseen, 0.0, most)
        factor = np.where(most > least, (most - least) / (high - low), 1.0)
        return cls(least - low * factor, factor)

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Scale ``(N, *shape)``, computing in double precision."""
        scaled = np.empty(values.shape, np.float32)
        start = 0
        # What is too large for single precision becomes infinite, and is refused by the domain.
        with np.errstate(over="ignore"):
            for chunk in _chunks(values):
                scaled[start : start + len(chunk)] = (chunk - self.offset) / self.factor
                start += len(chunk)
        return scaled

    def undo(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return ``(N, *shape)`` in the unit of the file."""
        return x.astype(np.float64) * self.factor + self.offset

    def state(self) -> dict[str, Tensor]:
        """Return the statistics as tensors."""
        return {"offset": torch.from_numpy(self.offset.copy()), "factor": torch.from_numpy(self.factor.copy())}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Take back what `state` gave."""
        return cls(*(torch.as_tensor(state[name], dtype=torch.float64).numpy() for name in ("offset", "factor")))


def _chunks(values: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    rows = max(1, _CHUNK // max(1, values[0].size)) if len(values) else 1
    for start in range(0, len(values), rows):
        yield values[start : start + rows].astype(np.float64)
