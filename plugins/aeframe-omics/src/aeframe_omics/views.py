"""Standardise the views of cells: tables of real numbers that are measured in addition to the counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_omics.cells import CellMetadata


@dataclass(frozen=True, slots=True)
class Standardizer:
    """Standardise the columns of a table by the mean and standard deviation of the training cells."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def learn(cls, table: NDArray[np.float32]) -> Standardizer:
        """Compute mean and deviation from a table ``(cells, columns)`` of training cells."""
        values = table.astype(np.float64)
        deviation = values.std(0)
        return cls(tuple(values.mean(0).tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist()))

    def apply(self, metadata: CellMetadata, name: str, table: NDArray[np.float32]) -> Tensor:
        """Return the standardised table ``(cells, columns)`` of view `name`.

        Raises:
            AeframeError: Another number of columns than in training.
        """
        if table.shape[1] != len(self.mean):
            raise AeframeError(
                f"{metadata.origin} has {table.shape[1]} columns in obsm '{name}', expected {len(self.mean)} as in "
                "training; use the same columns"
            )
        values = (table.astype(np.float64) - np.array(self.mean)) / np.array(self.deviation)
        return torch.from_numpy(values.astype(np.float32))

    def undo(self, values: Tensor) -> NDArray[np.float32]:
        """Return standardised values ``(N, columns)`` in the original units."""
        return (values.numpy() * np.array(self.deviation) + np.array(self.mean)).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """Return mean and deviation as plain values."""
        return {"mean": list(self.mean), "deviation": list(self.deviation)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Standardizer:
        """Return the standardizer with the values that `state` returned."""
        return cls(tuple(state["mean"]), tuple(state["deviation"]))
