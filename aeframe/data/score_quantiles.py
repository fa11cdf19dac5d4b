"""`ScoreQuantiles`: a distribution of scores, from which thresholds and percentiles are taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ScoreQuantiles:
    """A distribution of scores by its quantiles."""

    values: NDArray[np.float64]
    """At evenly spaced levels from 0 to 1, at least one."""

    @classmethod
    def of(cls, scores: NDArray[np.float64], max_levels: int) -> ScoreQuantiles | None:
        """Return the distribution of the finite scores ``(N,)``, by at most `max_levels` quantiles; None without any.

        A threshold is exact to the 1 / (`max_levels` - 1) part of the scores.
        """
        known = scores[np.isfinite(scores)]
        if not len(known):
            return None
        return cls(np.quantile(known, np.linspace(0, 1, min(len(known), max_levels))))

    def at(self, quantile: float) -> float:
        """Return a quantile in [0, 1], interpolated linearly."""
        return float(np.interp(quantile, np.linspace(0, 1, len(self.values)), self.values))

    def percentile(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for each score ``(N,)`` the percentage of lower ones in the distribution, in [0, 100]; NaN for NaN."""
        percentiles = np.interp(scores, self.values, np.linspace(0, 100, len(self.values)))
        return np.where(np.isnan(scores), np.nan, percentiles)
