"""Invertible maps from the numbers of a column to real elements: `StandardScale` and `QuantileScale`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]


class Scale(ABC):
    """An invertible map from numbers (N,) to real numbers of a few units (N,), and a mode for each, if it has modes."""

    modes: int = 1
    """Number of modes; a scale with one mode needs no element for it."""

    @abstractmethod
    def learn(self, values: Floats) -> None:
        """Estimate the map from finite numbers (N,); N may be 0."""

    @property
    @abstractmethod
    def is_learned(self) -> bool:
        """Whether `learn` or `load_state` was called."""

    @abstractmethod
    def encode(self, values: Floats) -> tuple[Floats, Classes | None]:
        """Return real numbers (N,) and modes (N,); None instead of modes if there is one only."""

    @abstractmethod
    def decode(self, real: Floats, mode: Classes) -> Floats:
        """Return numbers (N,) from real numbers and modes (N,)."""

    def affine(self) -> tuple[Floats, Floats] | None:
        """Return center and unit of each mode (modes,), of a number ``center + unit * real``; None for other maps."""
        return None

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what `learn` estimated, as values that JSON can represent."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""


def mean_and_deviation(values: Floats) -> tuple[float, float]:
    """Return mean and standard deviation; 0 and 1 for no values, a deviation of 1 if all values are the same."""
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, 1.0
    # Relative to the largest, so that squares of extreme numbers neither overflow nor vanish.
    unit = max(abs(low), abs(high))
    relative = values / unit
    mean, deviation = float(relative.mean()) * unit, float(relative.std()) * unit
    return mean, deviation if deviation > 0 else 1.0


class StandardScale(Scale):
    """Subtract the mean of the training split and divide by its standard deviation."""

    def __init__(self) -> None:
        self._mean_and_deviation: tuple[float, float] | None = None

    def learn(self, values: Floats) -> None:
        self._mean_and_deviation = mean_and_deviation(values)

    @property
    def is_learned(self) -> bool:
        return self._mean_and_deviation is not None

    def encode(self, values: Floats) -> tuple[Floats, Classes | None]:
        assert self._mean_and_deviation is not None
        mean, deviation = self._mean_and_deviation
        return (values - mean) / deviation, None

    def decode(self, real: Floats, mode: Classes) -> Floats:
        assert self._mean_and_deviation is not None
        mean, deviation = self._mean_and_deviation
        return real * deviation + mean

    def affine(self) -> tuple[Floats, Floats] | None:
        assert self._mean_and_deviation is not None
        mean, deviation = self._mean_and_deviation
        return np.array([mean]), np.array([deviation])

    def state(self) -> dict[str, Any]:
        assert self._mean_and_deviation is not None
        mean, deviation = self._mean_and_deviation
        return {"mean": mean, "deviation": deviation}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._mean_and_deviation = (float(state["mean"]), float(state["deviation"]))


class QuantileScale(Scale):
    """Map numbers to a standard normal distribution by the empirical quantiles of the training split.

    Between stored quantiles the map is linear in the probability. A number that many rows have covers an interval of
    probabilities: it is encoded as the center of the interval, and the whole interval is decoded to it. This is the
    map of `sklearn.preprocessing.QuantileTransformer`, except at the ends: the lowest and the highest of N numbers
    have the probabilities 0.5/N and 1 - 0.5/N, instead of 1e-7 and 1 - 1e-7 for every N, which would make outliers
    of them. Numbers beyond the ends are encoded as the ends.
    """

    def __init__(self, quantiles: int) -> None:
        self._number = quantiles
        self._values: Floats | None = None
        self._probabilities: Floats | None = None

    def learn(self, values: Floats) -> None:
        if values.size == 0:
            values = np.zeros(1)
        number = max(2, min(self._number, values.size))
        probabilities = np.linspace(0.0, 1.0, number)
        # Rounding in np.quantile can break the order of equal values.
        self._values = np.maximum.accumulate(np.quantile(values, probabilities))
        margin = 0.5 / max(values.size, 2)
        probabilities[0], probabilities[-1] = margin, 1.0 - margin
        self._probabilities = probabilities

    @property
    def is_learned(self) -> bool:
        return self._values is not None

    def encode(self, values: Floats) -> tuple[Floats, Classes | None]:
        assert self._values is not None
        assert self._probabilities is not None
        highest = np.interp(values, self._values, self._probabilities)
        if np.all(np.diff(self._values) > 0):
            return ndtri(highest), None
        # Of several equal quantiles, the first call returns the highest probability and this one the lowest.
        lowest = -np.interp(-values, -self._values[::-1], -self._probabilities[::-1])
        return ndtri(0.5 * (highest + lowest)), None

    def decode(self, real: Floats, mode: Classes) -> Floats:
        assert self._values is not None
        assert self._probabilities is not None
        return np.interp(ndtr(real), self._probabilities, self._values)

    def knots(self) -> tuple[Floats, Floats]:
        """Return the quantiles (Q,) in order, and their probabilities (Q,), between which the map is linear."""
        assert self._values is not None
        assert self._probabilities is not None
        return self._values, self._probabilities

    def state(self) -> dict[str, Any]:
        assert self._values is not None
        assert self._probabilities is not None
        return {"values": self._values.tolist(), "probabilities": self._probabilities.tolist()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._values = np.asarray(state["values"], dtype=np.float64)
        self._probabilities = np.asarray(state["probabilities"], dtype=np.float64)
