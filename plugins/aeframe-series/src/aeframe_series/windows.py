"""`WindowSource`: fixed-length windows of one series, gathered into batches.

Shapes: N time steps of the series, D columns, W windows of T time steps, B windows of a batch.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.types import Batch


class WindowSource:
    """Windows ``(D, T)`` of one series. The series is stored once, and only the windows of a batch are copied.

    `Batch.index` is the row of the file at which a window starts. With known anomalies, ``extras["anomaly"] (B, T)``
    flags the anomalous time steps, and ``extras["label"] (B,)`` is 1 for windows that contain one.

    Args:
        values: ``(D, N)``, scaled, 0 where a value is missing.
        starts: ``(W,)`` the index of the first time step of each window, in [0, N - window].
        window: Number of time steps of a window, T.
        observed: ``(D, N)``, False where a value is missing; None if no value is missing.
        anomaly: ``(N,)``, True for anomalous time steps; None if unknown.
        rows: ``(N,)`` the row of each time step in the file; by default 0 to N - 1.
    """

    in_memory = True

    def __init__(
        self,
        values: Tensor,
        starts: Tensor,
        window: int,
        *,
        observed: Tensor | None = None,
        anomaly: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> None:
        self.starts, self.window, self.num_steps = starts, window, values.shape[1]
        self._rows = torch.arange(self.num_steps) if rows is None else rows
        # Views (N - T + 1, D, T) of all possible windows; `batch` copies the selected ones.
        self._x = values.unfold(1, window, 1).transpose(0, 1)
        self._mask = None if observed is None else observed.unfold(1, window, 1).transpose(0, 1)
        self._anomaly = None if anomaly is None else anomaly.unfold(0, window, 1)

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, index: Tensor) -> Batch:
        """Return the windows with the numbers `index` ``(B,)``."""
        starts = self.starts[index]
        extras = {}
        if self._anomaly is not None:
            anomaly = self._anomaly.index_select(0, starts)
            extras = {"anomaly": anomaly, "label": anomaly.any(1).long()}
        mask = None if self._mask is None else self._mask.index_select(0, starts)
        return Batch(self._x.index_select(0, starts), mask, index=self._rows[starts], extras=extras)


def window_starts(
    steps: range, window: int, stride: int, *, excluded: NDArray[np.bool_], after_gap: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the first time step of each window that lies within `steps` and contains no excluded step and no gap.

    Args:
        steps: The time steps of a split.
        window: Number of time steps of a window, T.
        stride: Time steps from the start of one window to that of the next.
        excluded: ``(N,)``, True for time steps that no window may contain.
        after_gap: ``(N,)``, True for time steps that no window may contain together with the preceding one.
    """
    starts = np.arange(steps.start, steps.stop - window + 1, stride, dtype=np.int64)
    # Numbers before each time step; a window contains none if the number does not change from its start to its end.
    num_excluded = np.concatenate([[0], np.cumsum(excluded)])
    num_gaps = np.concatenate([[0], np.cumsum(after_gap)])
    without_excluded = num_excluded[starts + window] == num_excluded[starts]
    # A gap directly before the first time step is outside the window.
    without_gap = num_gaps[starts + window] == num_gaps[starts + 1]
    return starts[without_excluded & without_gap]
