"""A series of a stated model: nothing to download, and everything about it is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data import Dataset
from aeframe.data.tables import Rows
from aeframe.errors import AeframeError
from aeframe_series.recording import Recording, by_fractions

NOISE = 0.2
"""Standard deviation of the white noise on each value."""
_SHORTEST, _LONGEST = 8.0, 64.0
_SPIKE, _SHIFT, _SHIFT_LENGTH = 8.0, 5.0, 12
"""Anomalies, in standard deviations of the noise, and how many moments a shift lasts."""


def simulate(*, rows: int, columns: int, waves: int, seed: int) -> NDArray[np.float64]:
    """Draw ``(rows, columns)``: sums of a few waves that all columns share, and white noise.

    Column d at moment t is ``sum_k a_kd sin(2 pi t / p_k + b_kd) + e``, with p_k log-uniform in [8, 64],
    a_kd ~ N(0, 1), b_kd uniform and e ~ N(0, 0.2^2). Any window of it is a point of a space of 2 `waves` dimensions,
    plus noise.
    """
    rng = np.random.default_rng(seed)
    periods = _SHORTEST * (_LONGEST / _SHORTEST) ** rng.random(waves)
    size, phase = rng.normal(size=(waves, columns)), rng.uniform(0, 2 * np.pi, size=(waves, columns))
    angle = 2 * np.pi * np.arange(rows)[:, None, None] / periods[:, None] + phase
    return (size * np.sin(angle)).sum(1) + NOISE * rng.normal(size=(rows, columns))


class SeriesSimulated(Dataset):
    """Waves that several columns share, and noise (`aeframe_series.simulated.simulate`), embedded.

    The test split has anomalies, which alternate: a spike of 8 standard deviations of the noise in one moment, and a
    shift by 5 for 12 moments, each in one column, in evenly parted places.

    Args:
        rows: Moments.
        columns: Values at each moment.
        waves: How many there are.
        anomalies: How many, at known places.
        missing: The share of the values that is missing, in any split, for ``modality.missing=mask``.
        validation: Fraction of the moments for validation.
        test: Fraction of the moments for testing, the last ones.
        seed: Of the draw.
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
                "dataset 'series_simulated' needs rows, columns and waves of at least 1, anomalies of at least 0 and "
                f"missing in [0, 1), found {rows}, {columns}, {waves}, {anomalies} and {missing:g}"
            )
        self.size = {"rows": rows, "columns": columns, "waves": waves, "seed": seed}
        self.anomalies, self.missing = anomalies, missing
        self.fractions: dict[str, float] = {"validation": validation, "test": test}

    def describe(self) -> Mapping[str, Any]:
        return {"num_columns": self.size["columns"], "anomaly": self.anomalies > 0}

    def load(self) -> Recording:
        values = simulate(**self.size)
        names = tuple(f"wave{column}" for column in range(values.shape[1]))
        rows = Rows(values, "dataset 'series_simulated'", names)
        splits = by_fractions(rows, **self.fractions, context=0, record=self.split_record)
        rng = np.random.default_rng(self.size["seed"] + 1)
        flags = np.zeros(len(values), bool)
        first, end = splits["test"].start, splits["test"].stop
        for number, start in enumerate(np.linspace(first, end, self.anomalies + 2).astype(int)[1:-1].tolist()):
            size, length = (_SPIKE, 1) if number % 2 == 0 else (_SHIFT, _SHIFT_LENGTH)
            places = slice(start, start + length)
            values[places, rng.integers(values.shape[1])] += rng.choice([-1, 1]) * size * NOISE
            flags[places] = True
        values[rng.random(values.shape) < self.missing] = np.nan
        return Recording(rows, splits=splits, anomaly=flags if self.anomalies else None)
