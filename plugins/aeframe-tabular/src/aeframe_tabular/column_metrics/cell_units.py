"""`CellUnits`: cells in the unit of the file, and their likelihood for each unit, computed on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from aeframe.evaluation.metrics.base import SUM_DTYPE
from aeframe.parts.packed import Packing
from aeframe_tabular.coding import TableCoding
from aeframe_tabular.coding.numbers import NumberCoding
from aeframe_tabular.coding.scales import QuantileScale
from aeframe_tabular.column_metrics.normal_interval import log_probability_between
from aeframe_tabular.column_metrics.quantile_cells import QuantileCells

DAY = 86400.0
"""The unit of dates, in seconds."""
_NONE = -1
"""Stands for a class that a column does not have."""


class CellUnits(nn.Module):
    """The cells of rows x ``(B, D)`` in the unit of the file, dates in days since 1970.

    All methods compute on the columns together, without a transfer from the device.

    Shapes: B rows, C columns, N of them numbers or dates, A of these with modes of a center and a unit, at most M
    modes; D elements of x, W packed numbers (see `aeframe.parts.packed.Packing`).

    Args:
        coding: The learned coding of the columns.
    """

    column: Tensor
    """``(D,)``: the column of each element."""
    class_element: Tensor
    """``(C,)``: the element with the class of each column; its first element if it has no class."""
    class_start: Tensor
    """``(C,)``: the position of class 0 of that element in the packed vector."""
    has_class: Tensor
    """``(C,)``: whether the column has an element with a class."""
    numeric: Tensor
    """``(N,)``: the columns of numbers and dates."""
    real: Tensor
    """``(N,)``: their real elements."""
    modes: Tensor
    """``(N,)``: how many classes are modes, the first ones."""
    missing: Tensor
    """``(N,)``: the class of missing cells."""
    spike: Tensor
    """``(N,)``: the class of the spike."""
    spike_number: Tensor
    """``(N,)``: the number of the spike."""
    bounds: Tensor
    """``(2, N)``: the lowest and highest number of the training table."""
    width: Tensor
    """``(N,)``: the distance of neighbouring numbers, on average for months and years; 0 for those of any digits."""
    is_grid: Tensor
    """``(N,)``: whether numbers are multiples of their width."""
    affine: Tensor
    """``(A,)``: which of the N columns have modes of a center and a unit."""
    centers: Tensor
    """``(A, M)``"""
    units: Tensor
    """``(A, M)``"""
    is_mode: Tensor
    """``(A, M)``: whether the column has so many modes."""
    by_quantiles: Tensor
    """``(N - A,)``: which of the N columns are the others."""

    def __init__(self, coding: TableCoding) -> None:
        super().__init__()
        codings, starts = coding.codings, torch.from_numpy(coding.starts)
        packing = Packing(coding.classes)
        first = torch.zeros(len(coding.elements), dtype=torch.int64)
        first[packing.discrete] = packing.start
        class_element = starts + torch.tensor([each.class_element or 0 for each in codings])
        numeric = [at for at, each in enumerate(codings) if isinstance(each, NumberCoding)]
        numbers = [cast("NumberCoding", codings[at]) for at in numeric]
        # Seconds of dates become days.
        seconds = np.array([DAY if each.column.kind == "date" else 1.0 for each in numbers])
        maps = [each.scale.affine() for each in numbers]
        affine = [at for at, each in enumerate(maps) if each is not None]
        by_quantiles = [at for at, each in enumerate(maps) if each is None]
        found = [(center / seconds[at], unit / seconds[at]) for at in affine for center, unit in [maps[at] or _NO_MAP]]
        most = max((len(center) for center, _ in found), default=1)
        integers = {
            "column": [element.column for element in coding.elements],
            "numeric": numeric,
            "modes": [each.scale.modes for each in numbers],
            "missing": [_NONE if each.missing_class is None else each.missing_class for each in numbers],
            "spike": [_NONE if each.spike_class is None else each.spike_class for each in numbers],
            "affine": affine,
            "by_quantiles": by_quantiles,
        }
        low = [-math.inf if each.column.low is None else each.column.low for each in numbers]
        high = [math.inf if each.column.high is None else each.column.high for each in numbers]
        floats = {
            "spike_number": np.array([each.column.spike or 0.0 for each in numbers]) / seconds,
            "bounds": np.array([low, high]).reshape(2, -1) / seconds,
            "width": np.array([each.width for each in numbers]) / seconds,
            "centers": np.array([np.pad(center, (0, most - len(center))) for center, _ in found]).reshape(-1, most),
            "units": np.array([np.pad(unit, (0, most - len(unit)), constant_values=1.0) for _, unit in found]).reshape(
                -1, most
            ),
        }
        buffers = {name: torch.tensor(values, dtype=torch.int64) for name, values in integers.items()}
        buffers |= {name: torch.tensor(values, dtype=SUM_DTYPE) for name, values in floats.items()}
        buffers |= {
            "class_element": class_element,
            "class_start": first[class_element],
            "has_class": torch.tensor([each.class_element is not None for each in codings]),
            "is_grid": torch.tensor([each.is_grid for each in numbers], dtype=torch.bool),
            "real": starts[buffers["numeric"]],
            "is_mode": torch.arange(most) < torch.tensor([len(center) for center, _ in found]).reshape(-1, 1),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)
        scales = [cast("QuantileScale", numbers[at].scale).knots() for at in by_quantiles]
        self.quantiles = QuantileCells(
            [(values / seconds[at], p) for at, (values, p) in zip(by_quantiles, scales, strict=True)]
        )

    def evaluated(self, elements: Tensor) -> Tensor:
        """Return the cells ``(B, C)`` of which any element ``(B, D)`` is True."""
        counts = torch.zeros(len(elements), len(self.class_element), dtype=torch.int64, device=elements.device)
        return counts.index_add(1, self.column, elements.to(torch.int64)) > 0

    def classes(self, x: Tensor) -> Tensor:
        """Return the class of each cell ``(B, C)``; 0 for columns without one."""
        return x.index_select(1, self.class_element).long() * self.has_class

    def is_missing(self, x: Tensor) -> Tensor:
        """Return which cells of numbers and dates ``(B, N)`` have the class of missing cells."""
        return self.classes(x).index_select(1, self.numeric) == self.missing

    def numbers(self, x: Tensor, *, written: bool = False) -> Tensor:
        """Return numbers and dates ``(B, N)``, rounded as in a file except for months and years.

        Those of missing cells mean nothing.

        Args:
            x: Elements, ``(B, D)``.
            written: Clip them to the range of the training table, as a file of reconstructions has them.
        """
        classes, real = self.classes(x).index_select(1, self.numeric), self._real(x)
        numbers = torch.zeros_like(real)
        if len(self.affine):
            mode = classes.index_select(1, self.affine).minimum(self.modes[self.affine] - 1).T
            center, unit = self.centers.gather(1, mode).T, self.units.gather(1, mode).T
            numbers = numbers.index_copy(1, self.affine, center + unit * real.index_select(1, self.affine))
        if len(self.by_quantiles):
            decoded = self.quantiles.numbers(real.index_select(1, self.by_quantiles))
            numbers = numbers.index_copy(1, self.by_quantiles, decoded)
        numbers = torch.where(self.is_grid, (numbers / self._divisor).round() * self._divisor, numbers)
        if written:
            numbers = numbers.clamp(self.bounds[0], self.bounds[1])
        return torch.where(classes == self.spike, self.spike_number, numbers)

    @property
    def _divisor(self) -> Tensor:
        return torch.where(self.width > 0, self.width, 1.0)

    def negative_log_likelihood(self, x: Tensor, log_p: Tensor, means: Tensor, scales: Tensor) -> Tensor:
        """Return -log p of each cell ``(B, C)`` in nats, for each unit of the file where it is a density.

        - Classes, spikes and missing cells: -log of the probability of the class.
        - Other numbers: -log of the sum over the modes of the probability of the mode and the density of the number in
          it, a normal in the unit of the mode; so that codings can be compared. See `QuantileCells` for the coding
          ``quantile``.
        - Numbers that are rounded, such as integers: the same with the mean density of the interval that is rounded to
          the number. That of a point would have no bound for the few numbers of a column (Theis et al. 2016, arXiv
          1511.01844, section 3.1). The probabilities of all integers sum to 1; the lowest and the highest number of the
          table have those of all that are clipped to them.

        Parts of a date, which follow from the date, are left out.

        Args:
            x: Elements ``(B, D)``, finite.
            log_p: ``(B, W)`` or ``(1, W)``, from `Packing.log_probabilities`.
            means: The means of the real elements, ``(B, N)`` or ``(1, N)``.
            scales: Their standard deviations, ``(N,)`` or ``(1,)``.
        """
        log_p, means = log_p.to(SUM_DTYPE), means.to(SUM_DTYPE)
        scales = scales.to(SUM_DTYPE).expand(len(self.numeric))
        classes = self.classes(x)
        log_class = log_p.expand(len(x), -1).gather(1, self.class_start + classes) * self.has_class
        if not len(self.numeric):
            return -log_class
        number = self.numbers(x)
        # Ends of the interval of a number, beyond the lowest and the highest one without end.
        low = torch.where(number <= self.bounds[0], -torch.inf, number - 0.5 * self.width)
        high = torch.where(number >= self.bounds[1], torch.inf, number + 0.5 * self.width)
        density = torch.zeros_like(number)
        if len(self.affine):
            at = self.affine
            ends = [each.index_select(1, at) for each in (number, low, high)]
            density = density.index_copy(1, at, self._in_modes(ends, log_p, means.index_select(1, at), scales[at]))
        if len(self.by_quantiles):
            at = self.by_quantiles
            real, low, high, mean = (each.index_select(1, at) for each in (self._real(x), low, high, means))
            columns, scale = self.numeric[at], scales[at]
            log_number = log_p.index_select(1, self.class_start[columns]) * self.has_class[columns]
            mass = self.quantiles.log_probability(low, high, mean, scale) - self._divisor[at].log()
            point = self.quantiles.log_density(real, mean, scale)
            density = density.index_copy(1, at, log_number + torch.where(self.width[at] > 0, mass, point))
        is_number = classes.index_select(1, self.numeric) < self.modes
        log_numeric = torch.where(is_number, density, log_class.index_select(1, self.numeric))
        return -log_class.index_copy(1, self.numeric, log_numeric)

    def _real(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.real).to(SUM_DTYPE)

    def _in_modes(self, numbers: Sequence[Tensor], log_p: Tensor, means: Tensor, scales: Tensor) -> Tensor:
        """Return log p ``(B, A)`` of numbers for each unit, of any mode, see `negative_log_likelihood`.

        `numbers` are the number, and the lower and the upper end of its interval, ``(B, A)`` each.
        """
        columns = self.numeric[self.affine]
        unit = self.units * scales.unsqueeze(-1)
        point, a, b = (
            ((end.unsqueeze(-1) - self.centers) / self.units - means.unsqueeze(-1)) / scales.unsqueeze(-1)
            for end in numbers
        )
        log_density = -0.5 * (point.square() + math.log(2 * math.pi)) - unit.log()
        width = self.width[self.affine, None]
        log_mass = log_probability_between(a, b) - self._divisor[self.affine, None].log()
        mode = torch.arange(self.centers.shape[1], device=log_p.device)
        has_class = self.has_class[columns, None]
        log_mode = log_p[:, self.class_start[columns].unsqueeze(-1) + mode * (self.is_mode & has_class)] * has_class
        log_number = log_mode + torch.where(width > 0, log_mass, log_density)
        return torch.where(self.is_mode, log_number, -torch.inf).logsumexp(-1)


_NO_MAP = (np.zeros(1), np.ones(1))
