"""The metric ``columns``: likelihood and error of each column of a table, in the unit of the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aeframe.data import Modality
from aeframe.errors import AeframeError
from aeframe.evaluation.metric_table import MetricTable
from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.parts.losses.mixed import Mixed
from aeframe.parts.packed import Packing
from aeframe.types import ForwardOutput
from aeframe_tabular.coding import ColumnCoding
from aeframe_tabular.coding.categories import CategoryCoding
from aeframe_tabular.column import Column
from aeframe_tabular.column_metrics.cell_units import DAY, CellUnits

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

_NUM_NAMED = 3
"""The number of columns with the largest and the smallest errors that the summary names."""


class Columns(ModelMetric):
    """Negative log-likelihood and error of each column, in the unit of the file, with those of a baseline.

    z is the mean of the posterior. The table of the metric has a row for each column:

    - ``nll``: the mean of -log p(cell | z) in nats, a density for each unit of the file and for each day of a date, so
      that codings can be compared; see `CellUnits.negative_log_likelihood`. It is 0 for a class that is certain, and
      can be negative for a density. ``nll_of_baseline``: with the training frequencies of the classes and one normal
      for the real element, as of a decoder that returns the same for every row.
    - ``error``: the mean absolute error of the reconstructed numbers, of dates in days, over the cells that are present
      in x, as they would be written if the cell is not missing; the fraction of wrong classes, of which a missing cell
      is one. ``error_of_baseline``: that of ``baseline``, the training median or the most frequent class.

    ``cell_nll`` and ``cell_nll_of_baseline`` are the means over all cells. ``columns_below_baseline`` is the fraction
    of the columns with a smaller error than the baseline.

    Args:
        model: A model with the loss ``mixed``.
        modality: The modality ``table``, with the state of training.

    Raises:
        AeframeError: Another modality.
    """

    nll: Tensor
    """``(C,)``: the sum of the negative log-likelihood of each of C columns."""
    nll_of_baseline: Tensor
    """``(C,)``"""
    cells: Tensor
    """``(C,)``: the number of cells that are evaluated."""
    error: Tensor
    """``(C,)``: the sum of absolute errors, or the number of wrong classes."""
    error_of_baseline: Tensor
    """``(C,)``"""
    present: Tensor
    """``(C,)``: the number of cells of which the error is a mean."""
    _baseline_log_p: Tensor
    """``(1, W)``"""
    _baseline_mean: Tensor
    """``(1, N)``, in prepared x"""
    _baseline_deviation: Tensor
    """``(N,)``, in prepared x"""
    _baseline_typical: Tensor
    """``(C,)``, in the unit of the file, dates in days"""
    by_position = True
    test_only = True

    def __init__(self, model: Autoencoder, modality: Modality) -> None:
        super().__init__()
        from aeframe_tabular.modality import TableModality

        if not isinstance(modality, TableModality):
            raise AeframeError(
                f"metric columns needs the columns of modality table, found {type(modality).__name__}; leave it out "
                "with metrics.columns=null"
            )
        self._coding, self._marginals = modality.rows.x, modality.rows.marginals
        self._without_missing = modality.without_missing
        self.units = CellUnits(self._coding)
        log_p, mean, deviation, typical = self._baseline(Packing(self._coding.classes).size)
        self.register_buffer("_baseline_log_p", log_p, persistent=False)
        self.register_buffer("_baseline_mean", mean, persistent=False)
        self.register_buffer("_baseline_deviation", deviation, persistent=False)
        self.register_buffer("_baseline_typical", typical, persistent=False)
        for name in ("nll", "nll_of_baseline", "cells", "error", "error_of_baseline", "present"):
            self.add_state(name, torch.zeros(len(self._coding.columns), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self._computed_sums: Tensor | None = None

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return isinstance(model.loss, Mixed)

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        loss, units = model.loss, self.units
        assert isinstance(loss, Mixed)
        x, evaluated = out.batch.masked_x(), units.evaluated(evaluated_elements(out))
        x_hat, present_hat = loss.mean(out.output), loss.mean(self._without_missing(out.output))
        log_p = loss.packing.log_probabilities(out.output.float().squeeze(-2))
        means = x_hat.index_select(1, units.real)
        baseline = (self._baseline_log_p, self._baseline_mean, self._baseline_deviation)
        nll = units.negative_log_likelihood(x, log_p, means, loss.scales())
        nll_of_baseline = units.negative_log_likelihood(x, *baseline)
        classes = units.classes(x)
        error = (classes != units.classes(x_hat)).to(SUM_DTYPE)
        error_of_baseline = (classes != self._baseline_typical).to(SUM_DTYPE)
        present = evaluated
        if len(units.numeric):
            numbers, at = units.numbers(x), units.numeric
            error = error.index_copy(1, at, (units.numbers(present_hat, written=True) - numbers).abs())
            error_of_baseline = error_of_baseline.index_copy(1, at, (self._baseline_typical[at] - numbers).abs())
            present = present.index_copy(1, at, evaluated.index_select(1, at) & ~units.is_missing(x))
        self.nll = self.nll + _sum(nll, evaluated)
        self.nll_of_baseline = self.nll_of_baseline + _sum(nll_of_baseline, evaluated)
        self.cells = self.cells + evaluated.sum(0)
        self.error = self.error + _sum(error, present)
        self.error_of_baseline = self.error_of_baseline + _sum(error_of_baseline, present)
        self.present = self.present + present.sum(0)

    def compute(self) -> dict[str, Tensor]:
        # `table` is called when the sums of this device are no longer those of all devices.
        self._computed_sums = torch.stack(
            [self.nll, self.nll_of_baseline, self.cells, self.error, self.error_of_baseline, self.present]
        )
        measured = self.present > 0
        below = (self.error < self.error_of_baseline) & measured
        num = self.cells.sum()
        return {
            "cell_nll": self.nll.sum() / num,
            "cell_nll_of_baseline": self.nll_of_baseline.sum() / num,
            "columns_below_baseline": below.sum(dtype=SUM_DTYPE) / measured.sum(),
        }

    def table(self) -> MetricTable | None:
        if self._computed_sums is None:
            return None
        nll, nll_of_baseline, cells, error, error_of_baseline, present = self._computed_sums.double().cpu()
        columns = self._coding.columns
        errors, of_baseline = (error / present).tolist(), (error_of_baseline / present).tolist()
        return MetricTable(
            {
                "column": [column.name for column in columns],
                "kind": [column.kind for column in columns],
                "cells": [int(num) for num in cells.tolist()],
                "nll": (nll / cells).tolist(),
                "nll_of_baseline": (nll_of_baseline / cells).tolist(),
                "error": errors,
                "error_of_baseline": of_baseline,
                "unit": [_unit(column) for column in columns],
                "baseline": self._typical_values(),
            },
            _summary([column.name for column in columns], errors, of_baseline),
        )

    def protocol(self) -> str:
        return (
            "z at the mean of the posterior; nll in nats for each unit of the file; error: mean absolute error in the "
            "unit of the file, or fraction of wrong classes; baseline: training median or most frequent class"
        )

    def _baseline(self, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return log p ``(1, W)``, means ``(1, N)``, deviations ``(N,)`` and typical cells ``(C,)`` of the baseline."""
        marginals, units = self._marginals.columns, self.units
        log_p = torch.zeros(1, size, dtype=SUM_DTYPE)
        for start, marginal in zip(units.class_start.tolist(), marginals, strict=True):
            if marginal.counts:
                log_p[0, start : start + len(marginal.counts)] = torch.from_numpy(marginal.log_p)
        seconds = [DAY if column.kind == "date" else 1.0 for column in self._coding.columns]
        typical = [each.typical / unit for each, unit in zip(marginals, seconds, strict=True)]
        numbers = [marginals[at] for at in units.numeric.tolist()]
        mean = torch.tensor([[each.mean for each in numbers]], dtype=SUM_DTYPE)
        deviation = torch.tensor([each.deviation for each in numbers], dtype=SUM_DTYPE)
        return log_p, mean, deviation, torch.tensor(typical, dtype=SUM_DTYPE)

    def _typical_values(self) -> list[str]:
        """Return the baseline of each column as text."""
        pairs = zip(self._coding.codings, self._marginals.columns, strict=True)
        return [_typical_value(coding, marginal.typical) for coding, marginal in pairs]


def _sum(values: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, values, 0.0).sum(0, dtype=SUM_DTYPE)


def _typical_value(coding: ColumnCoding, typical: float) -> str:
    """Return a median or most frequent class (see `Marginal.typical`) as text."""
    if math.isnan(typical):
        return ""
    if isinstance(coding, CategoryCoding):
        if typical == coding.missing_class:
            return "(missing)"
        value = coding.decode(np.array([[typical]], dtype=np.float32)).iloc[0]
        return "(rare classes)" if coding.is_grouped(int(typical)) else str(value)
    if coding.column.kind != "date":
        return f"{typical:.6g}"
    date = pd.Timestamp(round(typical * 1e6), unit="us")
    return str(date.date() if date == date.normalize() else date)


def _unit(column: Column) -> str:
    """Return the unit of an error; empty for that of the numbers of the file."""
    if column.is_discrete:
        return "fraction"
    return "days" if column.kind == "date" else ""


def _summary(names: Sequence[str], errors: Sequence[float], of_baseline: Sequence[float]) -> str:
    """Return how many columns have a smaller error than the baseline, and those with the largest and smallest ratio."""
    measured = [each for each in zip(names, errors, of_baseline, strict=True) if math.isfinite(each[1])]
    better = sum(error < baseline for _, error, baseline in measured)
    # A constant column has no ratio.
    ratios = sorted((error / baseline, name) for name, error, baseline in measured if baseline > 0)
    first, last = ratios[:_NUM_NAMED], ratios[_NUM_NAMED:][-_NUM_NAMED:]
    named = [", ".join(f"{name} {ratio:.2g}" for ratio, name in each) for each in (first, last[::-1]) if each]
    text = f"{better} of {len(measured)} columns have a smaller error than the training median or most frequent class"
    return f"{text}; error relative to it, smallest: {'; largest: '.join(named)}" if named else text
