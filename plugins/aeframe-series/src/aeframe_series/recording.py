"""`Recording`: multivariate time series in memory, as the datasets of this plugin load them.

Shapes: N time steps, D columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aeframe.data.tables import Rows


@dataclass(slots=True)
class Recording:
    """One series, or several of the same columns one after another, from which windows are cut."""

    rows: Rows
    """``(N, D)``, one row per time step, NaN where a value is missing; `Rows.label` holds the times."""
    time: str | None = None
    """The name of the time column."""
    splits: dict[str, range] | None = None
    """The rows of each of `aeframe.data.split_record.SPLITS`; None for a file that is not used for training."""
    anomaly: NDArray[np.bool_] | None = None
    """``(N,)``, True for time steps that are known anomalies."""
    starts: NDArray[np.int64] | None = None
    """The rows at which one of several recordings begins, ascending from 0; no window contains rows of two of them.

    None for one recording.
    """
