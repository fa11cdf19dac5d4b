"""Simulated series from a known model: sine waves shared by all columns, white noise, and labelled anomalies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data import Dataset
from aeframe.data.tables import Rows
from aeframe.errors import AeframeError
from aeframe_series.recording import Recording
from aeframe_series.splits import split_by_fractions

NOISE = 0.2
"""Standard deviation of the white noise on each value."""
_SHORTEST_PERIOD, _LONGEST_PERIOD = 8.0, 64.0
_SPIKE_SIZE, _SHIFT_SIZE = 8.0, 5.0
"""What an anomaly adds to the values, in standard deviations of the noise."""
_SHIFT_LENGTH = 12
"""Time steps of a shift."""


def simulate(*, rows: int, columns: int, waves: int, seed: int) -> NDArray[np.float64]:
    """Sample ``(rows, columns)``: each column is a sum of the same few sine waves plus white noise.

    Column d at time step t is ``sum_k a_kd sin(2 pi t / p_k + b_kd) + e``, with p_k log-uniform in [8, 64],
    a_kd ~ N(0, 1), b_kd uniform in [0, 2 pi) and e ~ N(0, 0.2^2). Without noise all windows of the series lie in a
    linear subspace of 2 `waves` dimensions.
    """
    rng = np.random.default_rng(seed)
    periods = _SHORTEST_PERIOD * (_LONGEST_PERIOD / _SHORTEST_PERIOD) ** rng.random(waves)
    amplitude, phase = rng.normal(size=(waves, columns)), rng.uniform(0, 2 * np.pi, size=(waves, columns))
    angle = 2 * np.pi * np.arange(rows)[:, None, None] / periods[:, None] + phase
    return (amplitude * np.sin(angle)).sum(1) + NOISE * rng.normal(size=(rows, columns))


class SeriesSimulated(Dataset):
    """Simulated sine waves with noise (`aeframe_series.simulated.simulate`); nothing is downloaded.

    The test split contains evenly spaced anomalies in one random column each. Spikes of 8 standard deviations of the
    noise in one time step alternate with shifts by 5 standard deviations over 12 time steps.

    Args:
        rows: Number of time steps.
        columns: Number of columns.
        waves: Number of sine waves.
        anomalies: Number of anomalies.
        missing: Fraction of the values, in all splits, that are replaced by NaN, for
            ``modality.missing=mask``.
        validation: Fraction of the time steps for validation.
        test: Fraction of the time steps for testing, at the end.
        seed: Seed of the simulation.
    """

    modality = "series"

    def __init__(
        self,
        *,
        rows: int = 3000,
        columns: int = 3,
        waves: int = 4,
        anomalies: int = 8,
        missing: float = 0.0,
        validation: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
    ) -> None:
        if min(rows, columns, waves) < 1 or anomalies < 0 or not 0 <= missing < 1:
            raise AeframeError(
                "dataset 'series_simulated' requires rows, columns and waves of at least 1, anomalies of at least 0 "
                f"and missing in [0, 1), found {rows}, {columns}, {waves}, {anomalies} and {missing:g}"
            )
        self.simulation = {"rows": rows, "columns": columns, "waves": waves, "seed": seed}
        self.anomalies, self.missing = anomalies, missing
        self.fractions: dict[str, float] = {"validation": validation, "test": test}

    def describe(self) -> Mapping[str, Any]:
        return {"num_columns": self.simulation["columns"], "anomaly": self.anomalies > 0}

    def load(self) -> Recording:
        values = simulate(**self.simulation)
        names = tuple(f"wave{column}" for column in range(values.shape[1]))
        # `Rows` does not copy `values`: the anomalies and missing values below are added to the rows too.
        rows = Rows(values, "dataset 'series_simulated'", names)
        # No row belongs to two splits. `split_record`, inherited from `Dataset`, stores the split,
        # so that later runs use the same.
        recording = Recording(rows)
        recording.splits = split_by_fractions(recording, **self.fractions, context=0, record=self.split_record)
        # Another generator than that of `simulate`, so that the waves do not depend on the anomalies.
        rng = np.random.default_rng(self.simulation["seed"] + 1)
        flags = np.zeros(len(values), bool)
        first, end = recording.splits["test"][0].tolist()
        for number, start in enumerate(np.linspace(first, end, self.anomalies + 2).astype(int)[1:-1].tolist()):
            size, length = (_SPIKE_SIZE, 1) if number % 2 == 0 else (_SHIFT_SIZE, _SHIFT_LENGTH)
            steps = slice(start, start + length)
            values[steps, rng.integers(values.shape[1])] += rng.choice([-1, 1]) * size * NOISE
            flags[steps] = True
        values[rng.random(values.shape) < self.missing] = np.nan
        recording.anomaly = flags if self.anomalies else None
        return recording
