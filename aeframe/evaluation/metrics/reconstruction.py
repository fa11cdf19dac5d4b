"""How near the reconstructions come: errors per element, and how far they beat the mean sample."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.evaluation.metrics.sums import SUM_DTYPE
from aeframe.model.autoencoder import Autoencoder
from aeframe.tensors import broadcast_mask
from aeframe.types import ForwardOutput


class _ElementMean(ModelMetric):
    """The mean over all elements of all samples that the mask counts."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return model.spec.domain.kind != "category"

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        elements = self.compare(model.loss.mean(out.output).float(), out.batch.x)
        counted = counts(out)
        self.total = self.total + torch.where(counted, elements, 0.0).sum(dtype=SUM_DTYPE)
        self.count = self.count + counted.sum()

    def compute(self) -> Tensor:
        return self.total / self.count

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        """Return a number for each element: ``(B, *shape)`` twice -> ``(B, *shape)``."""
        raise NotImplementedError


class MeanSquaredError(_ElementMean):
    """The squared error per element, in the square of the data's unit."""

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction - x).square()


class MeanAbsoluteError(_ElementMean):
    """The absolute error per element, in the data's unit."""

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction - x).abs()


class Accuracy(_ElementMean):
    """The share of elements whose reconstruction, rounded, is the value: for classes and for binary data."""

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return model.spec.domain.kind in ("category", "binary")

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction.round() == x).float()


class R2Score(ModelMetric):
    """1 - squared error / variance of the data about their mean sample; 1 is perfect, 0 is no better than the mean.

    It is the R^2 of all elements together, each weighted by its variance. With it comes ``mse_of_mean``: the squared
    error per element of the evaluated set's own mean sample. For data that do not vary it is not a number.
    """

    error: Tensor
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.add_state("error", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        for name in ("total", "squares", "count"):
            self.add_state(name, torch.zeros(model.spec.shape, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return model.spec.domain.kind != "category"

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        counted = counts(out)
        x = torch.where(counted, out.batch.x.to(SUM_DTYPE), 0.0)
        error = torch.where(counted, model.loss.mean(out.output).to(SUM_DTYPE) - x, 0.0)
        self.error = self.error + error.square().sum()
        self.total, self.squares = self.total + x.sum(0), self.squares + x.square().sum(0)
        self.count = self.count + counted.sum(0)

    def compute(self) -> dict[str, Tensor]:
        # An element that no sample counted has no mean, and adds nothing.
        broadcast_mask = (self.squares - self.total.square() / self.count.clamp(min=1)).clamp(min=0).sum()
        return {"r2": 1 - self.error / broadcast_mask, "mse_of_mean": broadcast_mask / self.count.sum()}


def counts(out: ForwardOutput) -> Tensor:
    """Return ``(B, *shape)``, True where the mask counts an element.

    Where a corruption has hidden a part of held-out samples, that part only: to show what is seen is no feat.
    """
    x, mask = out.batch.x, out.batch.mask
    counted = torch.ones_like(x, dtype=torch.bool) if mask is None else broadcast_mask(mask, x.ndim).expand_as(x)
    return counted & out.encoder_input.extras["hidden"] if "hidden" in out.encoder_input.extras else counted
