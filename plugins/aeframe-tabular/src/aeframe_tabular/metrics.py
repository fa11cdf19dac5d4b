"""The metric ``cells``: how exactly the elements of a row are reconstructed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.types import ForwardOutput

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder


class Cells(ModelMetric):
    """How exactly cells are reconstructed, from the most probable class and the mean of numbers.

    ``class_accuracy``: the fraction of elements with classes whose class is that of x; ``class_accuracy_of_mode``: that
    of always predicting the most frequent class of each element of the evaluated set. ``number_mae``: the mean absolute
    error of numbers, in units of prepared x.
    """

    correct: Tensor
    """``(D,)``: the number of right classes of each element."""
    absolute_error: Tensor
    """``(D,)``: the sum of the absolute error of each number."""
    count: Tensor
    """``(D,)``: the number of samples in which each element is evaluated."""
    frequency: Tensor
    """``(W,)``: how often each class of each element occurs."""
    by_position = True

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        classes = torch.tensor(model.spec.domain.element_classes)
        self._is_class = classes > 0
        self._widths = classes.clamp(min=1).tolist()
        for name in ("correct", "absolute_error", "count"):
            self.add_state(name, torch.zeros(len(classes), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("frequency", torch.zeros(sum(self._widths), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return model.spec.domain.kind == "mixed"

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        x, x_hat, evaluated = out.batch.masked_x(), model.loss.mean(out.output), evaluated_elements(out)
        self.correct = self.correct + ((x_hat == x) & evaluated).sum(0)
        self.absolute_error = self.absolute_error + ((x_hat - x).abs() * evaluated).sum(0, dtype=SUM_DTYPE)
        self.count = self.count + evaluated.sum(0)
        starts = torch.tensor(self._widths, device=x.device).cumsum(0) - torch.tensor(self._widths, device=x.device)
        is_class = self._is_class.to(x.device)
        positions = (starts + torch.where(is_class, x, 0).long())[evaluated & is_class]
        self.frequency = self.frequency + torch.bincount(positions, minlength=len(self.frequency))

    def compute(self) -> dict[str, Tensor]:
        is_class = self._is_class.to(self.count.device)
        values = {}
        if is_class.any():
            most_frequent = torch.stack([part.max() for part in self.frequency.split(self._widths)])
            num = self.count[is_class].sum()
            values["class_accuracy"] = self.correct[is_class].sum() / num
            values["class_accuracy_of_mode"] = most_frequent[is_class].sum() / num
        if not is_class.all():
            values["number_mae"] = self.absolute_error[~is_class].sum() / self.count[~is_class].sum()
        return values
