"""`QuantileCells`: the numbers and densities of columns with the coding ``quantile``, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from aeframe.evaluation.metrics.base import SUM_DTYPE
from aeframe_tabular.column_metrics.normal_interval import log_probability_between

Floats = NDArray[np.float64]
_TOLERANCE = 1e-6
"""The rounding of a real element in float32: as near to an end it is a number at or beyond the lowest or highest."""


class QuantileCells(nn.Module):
    """K columns whose numbers are a piecewise linear function of the probability of their real element.

    A real element t is decoded to ``interp(Phi(t), probabilities, values)``. Where the function is constant, as for a
    number that many rows have and beyond both ends, the whole interval of t is one number, which has a probability
    instead of a density.

    Shapes: B rows, K columns, Q quantiles of the longest column, Q + 1 intervals of t between and beyond them.

    Args:
        knots: Values ``(Q,)`` and probabilities ``(Q,)`` of each column, see `QuantileScale.knots`.
    """

    borders: Tensor
    """``(K, Q)``: t at the quantiles, infinite behind the last one of a shorter column."""
    probabilities: Tensor
    """``(K, Q + 1)``: the probability at the start of each interval."""
    values: Tensor
    """``(K, Q + 1)``: the number at the start of each interval."""
    slopes: Tensor
    """``(K, Q + 1)``: change of the number with the probability, 0 where it is constant."""
    ordered: Tensor
    """``(K, Q)``: the numbers at the quantiles, infinite behind the last one of a shorter column."""
    num_quantiles: Tensor
    """``(K,)``: the number of quantiles of each column."""
    lowest: Tensor
    """``(K, Q + 1)``: where the run of t with the same number starts, of intervals with slope 0."""
    highest: Tensor
    """``(K, Q + 1)``: where it ends."""

    def __init__(self, knots: Sequence[tuple[Floats, Floats]]) -> None:
        super().__init__()
        size = max((len(values) for values, _ in knots), default=0)
        names = ("borders", "probabilities", "values", "slopes", "lowest", "highest")
        rows = [_intervals(*each) for each in knots]
        for at, name in enumerate(names):
            # Elements of the padding are of no interval that a finite t is in.
            fill = np.inf if name == "borders" else 0.0
            padded = np.full((len(rows), size + (name != "borders")), fill)
            for row, parts in enumerate(rows):
                padded[row, : len(parts[at])] = parts[at]
            self.register_buffer(name, torch.tensor(padded, dtype=SUM_DTYPE), persistent=False)
        numbers = [np.pad(values, (0, size - len(values)), constant_values=np.inf) for values, _ in knots]
        ordered = torch.tensor(np.array(numbers).reshape(len(knots), size), dtype=SUM_DTYPE)
        self.register_buffer("ordered", ordered, persistent=False)
        self.register_buffer("num_quantiles", torch.tensor([len(each) for each, _ in knots]), persistent=False)

    def numbers(self, t: Tensor) -> Tensor:
        """Return the numbers ``(B, K)`` of real elements ``(B, K)``."""
        interval = self._interval(t)
        start, value, slope = (self._of(each, interval) for each in (self.probabilities, self.values, self.slopes))
        return value + slope * (torch.special.ndtr(t.to(start.dtype)) - start)

    def log_density(self, t: Tensor, means: Tensor, scales: Tensor) -> Tensor:
        """Return log p ``(B, K)`` of the number of each real element, if t is normal with mean and standard deviation.

        It is a density for each unit of the number, and a probability where a whole interval of t is one number.
        """
        interval = self._interval(t)
        slope, low, high = (self._of(each, interval) for each in (self.slopes, self.lowest, self.highest))
        is_point = slope == 0
        t = t.to(slope.dtype)
        # The derivative of the number is slope * phi(t), so that 2 pi is in both densities.
        density = 0.5 * (t.square() - ((t - means) / scales).square()) - scales.log()
        density = density - torch.where(is_point, 1.0, slope).log()
        probability = log_probability_between((low - means) / scales, (high - means) / scales)
        return torch.where(is_point, probability, density)

    def log_probability(self, low: Tensor, high: Tensor, means: Tensor, scales: Tensor) -> Tensor:
        """Return log p ``(B, K)`` that the number is in an interval, if t is normal; see `log_density`.

        Args:
            low: Lower ends ``(B, K)``, which no run of equal quantiles has as its number; -inf for none.
            high: Upper ends ``(B, K)``, likewise; inf for none.
            means: The means of t.
            scales: The standard deviations of t.
        """
        a, b = ((self._real(end) - means) / scales for end in (low, high))
        return log_probability_between(a, b)

    def _real(self, numbers: Tensor) -> Tensor:
        """Return the real elements t ``(B, K)`` of numbers; -inf below the lowest quantile, inf above the highest."""
        # The values at the start of the intervals 1 to Q are the quantiles.
        following = torch.searchsorted(self.ordered, numbers.T.contiguous())
        start, value, slope = (
            self._of(each, following.clamp(max=each.shape[1] - 1))
            for each in (self.probabilities, self.values, self.slopes)
        )
        is_below, is_above = (following == 0).T, (following >= self.num_quantiles[:, None]).T
        change = torch.where(slope > 0, (numbers - value) / torch.where(slope > 0, slope, 1.0), 0.0)
        t = torch.special.ndtri(start + change)
        return torch.where(is_below, -torch.inf, torch.where(is_above, torch.inf, t))

    def _interval(self, t: Tensor) -> Tensor:
        """Return the number of the interval of each t ``(B, K)``, as ``(K, B)``."""
        return torch.searchsorted(self.borders, t.T.to(self.borders.dtype).contiguous())

    @staticmethod
    def _of(table: Tensor, interval: Tensor) -> Tensor:
        return table.gather(1, interval).T


def _intervals(values: Floats, probabilities: Floats) -> tuple[Floats, ...]:
    """Return the row of each table of `QuantileCells` for one column of Q quantiles."""
    t = ndtri(probabilities)
    left, right = np.append(values[0], values), np.append(values, values[-1])
    start = np.append(probabilities[0], probabilities)
    slopes = np.zeros(len(left))
    np.divide(np.diff(values), np.diff(probabilities), out=slopes[1:-1])
    # A run of intervals of the same number; every interval with a slope is one of its own.
    is_point = left == right
    begins = np.append(True, ~(is_point[1:] & is_point[:-1]))
    run = np.cumsum(begins) - 1
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(left)) - 1
    lowest, highest = np.append(-np.inf, t)[firsts][run], np.append(t, np.inf)[lasts][run]
    borders = t.copy()
    # Numbers at the ends are coded as the ends, which float32 rounds to either side.
    borders[0] += _TOLERANCE * (1.0 + abs(t[0]))
    borders[-1] -= _TOLERANCE * (1.0 + abs(t[-1]))
    return borders, start, left, slopes, lowest, highest
