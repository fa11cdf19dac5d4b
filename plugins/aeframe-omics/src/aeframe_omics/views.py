"""What stands beside the counts in a sample: tables of real numbers, standardised by the training cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_omics.cells import Known


@dataclass(frozen=True, slots=True)
class Standard:
    """The mean and the standard deviation of each column over the training cells."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def learn(cls, table: NDArray[np.float32]) -> Standard:
        """Learn them from ``(cells, columns)``."""
        wide = table.astype(np.float64)
        deviation = wide.std(0)
        return cls(tuple(wide.mean(0).tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist()))

    def apply(self, known: Known, name: str, table: NDArray[np.float32]) -> Tensor:
        """Return a table ``(cells, columns)``, standardised.

        Raises:
            AeframeError: Another number of columns.
        """
        if table.shape[1] != len(self.mean):
            raise AeframeError(
                f"{known.origin} has {table.shape[1]} columns in obsm '{name}', expected {len(self.mean)} as in "
                "training; give the same ones"
            )
        values = (table.astype(np.float64) - np.array(self.mean)) / np.array(self.deviation)
        return torch.from_numpy(values.astype(np.float32))

    def undo(self, values: Tensor) -> NDArray[np.float32]:
        """Return values ``(N, columns)`` in the file's own unit."""
        return (values.numpy() * np.array(self.deviation) + np.array(self.mean)).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"mean": list(self.mean), "deviation": list(self.deviation)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Standard:
        """Take back what `state` gave."""
        return cls(tuple(state["mean"]), tuple(state["deviation"]))
