"""Anomaly scores of a series from reconstruction errors, and thresholds from their distribution.

Shapes: N time steps of the series, D columns, W windows of T time steps, B windows of a batch. Values and errors are in
the scaled unit, in which the model receives the values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.types import Batch
from aeframe_series.windows import WindowSource

Reconstruct = Callable[[Batch], Tensor]
"""Returns the deterministic reconstruction ``(B, D, T)`` of a batch."""
_BATCH_SIZE = 256


@dataclass(frozen=True, slots=True)
class AnomalyScores:
    """Squared errors; NaN where no value was observed."""

    reconstruction: NDArray[np.float64]
    """``(N, D)``: the mean over all windows that contain the time step; NaN for time steps in no window."""
    errors: NDArray[np.float64]
    """``(N, D)``: the error of each value, the mean over all windows that contain it."""
    time_steps: NDArray[np.float64]
    """``(N,)``: the mean error over the columns."""
    windows: NDArray[np.float64]
    """``(W,)``: the mean error over the values of each window."""


@torch.no_grad()
def score_windows(reconstruct: Reconstruct, source: WindowSource) -> AnomalyScores:
    """Return the squared errors between windows and their reconstructions.

    Args:
        reconstruct: Returns the reconstruction of a batch.
        source: The windows, which may overlap.
    """
    # Sums over windows for each time step: of reconstructions, errors and observed values.
    totals: Tensor | None = None
    num_windows = torch.zeros(source.num_steps, dtype=torch.float64)
    window_errors = []
    for index in torch.arange(len(source)).split(_BATCH_SIZE):
        batch = source.batch(index)
        reconstruction = reconstruct(batch).cpu().double()
        observed = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
        errors = torch.where(observed, (reconstruction - batch.x).square(), 0.0)
        window_errors.append(errors.flatten(1).sum(1) / observed.flatten(1).sum(1))
        steps = (source.starts[index].unsqueeze(1) + torch.arange(source.window)).flatten()
        num_windows.index_add_(0, steps, torch.ones(len(steps), dtype=torch.float64))
        # Shape (3, D, B T): the last axis enumerates the time steps of all windows of the batch.
        values = torch.stack([reconstruction, errors, observed.double()]).permute(0, 2, 1, 3).flatten(2)
        totals = values.new_zeros(*values.shape[:2], source.num_steps) if totals is None else totals
        totals.index_add_(2, steps, values)
    assert totals is not None
    reconstruction, errors, num_observed = totals
    # 0 / 0 is NaN, the score of missing values and of time steps in no window.
    mean_errors = errors / num_observed
    present = num_observed > 0
    time_steps = torch.where(present, mean_errors, 0.0).sum(0) / present.sum(0)
    return AnomalyScores(
        (reconstruction / num_windows).T.numpy(),
        mean_errors.T.numpy(),
        time_steps.numpy(),
        torch.cat(window_errors).numpy(),
    )
