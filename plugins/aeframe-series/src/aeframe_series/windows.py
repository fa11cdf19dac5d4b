"""Windows over a long series: views of it, gathered by the batch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.types import Batch


class WindowSource:
    """Windows ``(D, T)`` of a series that is kept once, however much they overlap.

    `Batch.index` is the row of the file that a window begins with. Where moments are known to be anomalies,
    ``extras["anomaly"] (B, T)`` says which, and ``extras["label"] (B,)`` is 1 for windows that hold one.

    Args:
        values: ``(D, N)``, scaled, 0 where a value is missing.
        starts: ``(W,)`` the place that each window begins with, in [0, N - window].
        window: T.
        counted: ``(D, N)``, True where a value is there; None where all are.
        anomaly: ``(N,)``.
        rows: ``(N,)`` the number of each place's row in the file; by default the place itself.
    """

    in_memory = True

    def __init__(
        self,
        values: Tensor,
        starts: Tensor,
        window: int,
        *,
        counted: Tensor | None = None,
        anomaly: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> None:
        self.starts, self.window, self.length = starts, window, values.shape[1]
        self._rows = torch.arange(self.length) if rows is None else rows
        # A view for every place: (N - T + 1, D, T), of which only those asked for are ever copied.
        self._x = values.unfold(1, window, 1).transpose(0, 1)
        self._mask = None if counted is None else counted.unfold(1, window, 1).transpose(0, 1)
        self._anomaly = None if anomaly is None else anomaly.unfold(0, window, 1)

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, index: Tensor) -> Batch:
        """Return the windows `index` ``(B,)``."""
        starts = self.starts[index]
        extras = {}
        if self._anomaly is not None:
            anomaly = self._anomaly.index_select(0, starts)
            extras = {"anomaly": anomaly, "label": anomaly.any(1).long()}
        mask = None if self._mask is None else self._mask.index_select(0, starts)
        return Batch(self._x.index_select(0, starts), mask, index=self._rows[starts], extras=extras)


def starts_within(
    places: range, window: int, stride: int, *, bad: NDArray[np.bool_], breaks: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the places that windows begin with: every `stride`, as long as a whole window lies within.

    Args:
        places: Of the split.
        window: T.
        stride: From one window to the next.
        bad: ``(N,)``, places that no window may hold.
        breaks: ``(N,)``, places that no window may hold together with the one before.
    """
    starts = np.arange(places.start, places.stop - window + 1, stride, dtype=np.int64)
    num_bad = np.concatenate([[0], np.cumsum(bad)])
    num_breaks = np.concatenate([[0], np.cumsum(breaks)])
    whole = num_bad[starts + window] == num_bad[starts]
    joined = num_breaks[starts + window] == num_breaks[starts + 1]
    return starts[whole & joined]
