"""`NumberCoding`: a real element, and an element for mode, spike and missing cells where a number has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.errors import AeframeError
from aeframe_tabular.coding.column_coding import ColumnCoding, Element, nearest_class
from aeframe_tabular.coding.mixture import MixtureScale
from aeframe_tabular.coding.options import CodingOptions
from aeframe_tabular.coding.scales import Floats, QuantileScale, Scale, StandardScale
from aeframe_tabular.column import Column

_LARGEST = 1e18
"""The largest real element: the square of a larger one is infinite in float32."""


class NumberCoding(ColumnCoding):
    """The coding of a number or an integer.

    The first element is real. A second one is a class number, if there are at least two classes: the modes of the
    scale (one, if it has none), then the spike, if the column has one, then missing cells, if the column has any in
    the file. The real element is masked where the cell is a spike or missing.

    `decode` rounds to the digits of the column, integers to whole numbers, and clips to its lowest and highest number.
    A number is decoded to itself up to the precision of float32: relative to the distance from its mode for
    ``mixture``, from the mean for ``standard``.
    """

    def __init__(self, column: Column, index: int, options: CodingOptions) -> None:
        super().__init__(column)
        self._scale = _scale(options.per_column.get(column.name, options.numbers), options)
        self.spike_class = self._scale.modes if column.spike is not None else None
        number = self._scale.modes + (column.spike is not None)
        self.missing_class = number if column.num_missing > 0 else None
        self._classes = number + (column.num_missing > 0)
        self.elements = (Element(column.name, 0, index),)
        if self._classes > 1:
            self.class_element = 1
            self.elements += (Element(f"{column.name} ({self._class_name()})", self._classes, index),)

    @property
    def scale(self) -> Scale:
        """The map between numbers and real elements."""
        return self._scale

    @property
    def digits(self) -> int | None:
        """The digits after the decimal mark to which `decode` rounds; None for all, and for dates."""
        return 0 if self.column.kind == "integer" else self.column.decimals

    @property
    def width(self) -> float:
        """The distance of neighbouring numbers that `decode` returns, in seconds for dates; 0 if it does not round."""
        return 0.0 if self.digits is None else 10.0**-self.digits

    @property
    def is_grid(self) -> bool:
        """Whether these numbers are multiples of `width`."""
        return self.width > 0

    def numbers(self, values: pd.Series[Any]) -> Floats:
        """Return values as numbers (N,), dates in seconds since 1970; NaN where missing."""
        return self._to_numbers(values)

    def learn(self, values: pd.Series[Any]) -> None:
        numbers = self._to_numbers(values)
        self._learn_numbers(numbers[np.isfinite(numbers) & ~self._is_spike(numbers)])

    def encode(self, values: pd.Series[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if not self._scale.is_learned:
            raise self._not_learned()
        return self._encode_numbers(self._to_numbers(values))

    def decode(self, x: NDArray[np.float32], seed: int = 0) -> pd.Series[Any]:
        if not self._scale.is_learned:
            raise self._not_learned()
        return self._to_values(self._decode_numbers(x))

    def state(self) -> dict[str, Any]:
        if not self._scale.is_learned:
            raise self._not_learned()
        return self._scale.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._scale.load_state(state)

    def _class_name(self) -> str:
        if self._scale.modes > 1:
            return "mode"
        names = [] if self.spike_class is None else ["spike"]
        return " or ".join(names if self.missing_class is None else [*names, "missing"])

    def _learn_numbers(self, numbers: Floats) -> None:
        """Estimate the scale from finite numbers without the spike."""
        self._scale.learn(numbers)

    def _encode_numbers(self, numbers: Floats) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        missing, spike = np.isnan(numbers), self._is_spike(numbers)
        masked = missing | spike
        real, mode = self._scale.encode(np.where(masked, 0.0, numbers))
        x = np.zeros((len(numbers), len(self.elements)), dtype=np.float32)
        mask = np.empty(x.shape, dtype=np.bool_)
        np.copyto(x[:, 0], np.clip(real, -_LARGEST, _LARGEST), where=~masked, casting="same_kind")
        np.logical_not(masked, out=mask[:, 0])
        if self._classes > 1:
            number = np.zeros(len(numbers), dtype=np.int64) if mode is None else mode
            if self.spike_class is not None:
                number = np.where(spike, self.spike_class, number)
            number = np.where(missing, self.missing_class or 0, number)
            x[:, 1] = number
            mask[:, 1] = True if self.missing_class is not None else ~missing
        return x, mask

    def _decode_numbers(self, x: NDArray[np.float32]) -> Floats:
        real = x[:, 0].astype(np.float64)
        number = nearest_class(x[:, 1], self._classes) if self._classes > 1 else np.zeros(len(x), dtype=np.int64)
        numbers = self._scale.decode(real, np.clip(number, 0, self._scale.modes - 1))
        numbers = self._within_range(self._rounded(numbers))
        if self.spike_class is not None:
            numbers[number == self.spike_class] = self.column.spike
        numbers[number < 0] = np.nan
        if self.missing_class is not None:
            numbers[number == self.missing_class] = np.nan
        return numbers

    def _rounded(self, numbers: Floats) -> Floats:
        digits = self.digits
        if digits is None:
            return numbers
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = np.round(numbers, digits)
        # Scaling by 10**digits overflows for numbers that have no digits after the decimal mark.
        return np.where(np.isfinite(rounded), rounded, numbers) + 0.0  # and -0 becomes 0

    def _within_range(self, numbers: Floats) -> Floats:
        low = -np.inf if self.column.low is None else self.column.low
        high = np.inf if self.column.high is None else self.column.high
        return np.clip(numbers, low, high)

    def _is_spike(self, numbers: Floats) -> NDArray[np.bool_]:
        if self.column.spike is None:
            return np.zeros(numbers.shape, dtype=np.bool_)
        return numbers == self.column.spike

    def _to_numbers(self, values: pd.Series[Any]) -> Floats:
        if not pd.api.types.is_numeric_dtype(values.dtype):
            raise AeframeError(
                f"column '{self.column.name}' is of the kind '{self.column.kind}' and needs numbers, "
                f"found values of the type {values.dtype}"
            )
        return values.to_numpy(dtype=np.float64, na_value=np.nan)

    def _to_values(self, numbers: Floats) -> pd.Series[Any]:
        return pd.Series(numbers, name=self.column.name)


def _scale(name: str, options: CodingOptions) -> Scale:
    if name == "mixture":
        return MixtureScale(options.modes)
    return QuantileScale(options.quantiles) if name == "quantile" else StandardScale()
