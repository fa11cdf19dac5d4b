"""`MissingCells`: which cells of prepared rows are missing, and rows in which they are filled."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aeframe.parts.packed import Packing
from aeframe.types import Batch
from aeframe_tabular.coding import TableCoding

_NONE = -1
"""Stands for a class or an element that a column does not have."""


class MissingCells:
    """The missing cells of rows x ``(N, D)`` with C columns.

    A cell is missing if its class is that of missing cells, or if the mask is False for all of its elements.

    Args:
        coding: The coding of the columns.
    """

    def __init__(self, coding: TableCoding) -> None:
        codings = coding.codings
        starts = torch.from_numpy(coding.starts)
        self._column = torch.tensor([element.column for element in coding.elements])
        has_class = [each.class_element is not None for each in codings]
        element = torch.tensor([each.class_element or 0 for each in codings])
        # A column without a class has its first element here, which no class number equals.
        self._class_element = starts + element
        self._missing_class = torch.tensor([_number(each.missing_class) for each in codings])
        self._spike_class = torch.tensor([_number(each.spike_class) for each in codings])
        self._is_class = torch.zeros(len(coding.elements), dtype=torch.bool)
        self._is_class[self._class_element[torch.tensor(has_class)]] = True
        packing = Packing(coding.classes)
        start_of = torch.zeros(len(coding.elements), dtype=torch.int64)
        start_of[packing.discrete] = packing.start
        has_missing = self._missing_class >= 0
        self._logits = (start_of[self._class_element] + self._missing_class)[has_missing]

    def cells(self, batch: Batch) -> Tensor:
        """Return ``(N, C)``: True for the missing cells."""
        classes = batch.x[:, self._class_element.to(batch.x.device)]
        is_missing = (classes == self._missing_class.to(classes.device)) & (self._missing_class >= 0).to(classes.device)
        if batch.mask is None:
            return is_missing
        mask = batch.mask.to(torch.int64)
        num_valid = mask.new_zeros(is_missing.shape).index_add(1, self._column.to(mask.device), mask)
        return is_missing | (num_valid == 0)

    def elements(self, batch: Batch) -> Tensor:
        """Return ``(N, D)``: True for the elements of missing cells."""
        return self.cells(batch)[:, self._column.to(batch.x.device)]

    def filled(self, batch: Batch, values: Tensor) -> Batch:
        """Return rows whose missing cells have `values` ``(N, D)``.

        Their elements are valid then, except for those of a spike, which has a class only.
        """
        device = batch.x.device
        cells = self.cells(batch)
        missing = cells[:, self._column.to(device)]
        x = torch.where(missing, values.to(batch.x.dtype), batch.x)
        spikes = self._spike_class.to(device)
        is_spike = cells & (spikes >= 0) & (x[:, self._class_element.to(device)] == spikes)
        has_no_value = is_spike[:, self._column.to(device)] & ~self._is_class.to(device)
        valid = torch.ones_like(missing) if batch.mask is None else batch.mask | missing
        return replace(batch, x=x.masked_fill(has_no_value, 0), mask=valid & ~has_no_value)

    def without_missing(self, output: Tensor) -> Tensor:
        """Return packed output ``(..., W)`` of loss ``mixed`` with probability 0 for the classes of missing cells."""
        return output.index_fill(-1, self._logits.to(output.device), -torch.inf)


def _number(number: int | None) -> int:
    return _NONE if number is None else number
