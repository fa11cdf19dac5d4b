"""Reconstruction errors per element, accuracy, and R²."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, Baseline, ModelMetric
from aeframe.model.autoencoder import Autoencoder
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, ForwardOutput, Latent


class _ElementMean(ModelMetric):
    """Mean of `compare` over the elements of all samples that are evaluated (see `evaluated_elements`)."""

    total: Tensor
    """``()``: sum of `compare` over elements."""
    count: Tensor
    """``()``: number of elements."""
    by_position = True

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return not model.spec.domain.has_classes

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        values = self.compare(model.loss.mean(out.output).float(), out.batch.x)
        evaluated = evaluated_elements(out)
        self.total = self.total + torch.where(evaluated, values, 0.0).sum(dtype=SUM_DTYPE)
        self.count = self.count + evaluated.sum()

    def compute(self) -> Tensor:
        return self.total / self.count

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        """Return the value of each element, such as its error: ``(B, *shape)`` twice -> ``(B, *shape)``."""
        raise NotImplementedError


class MeanSquaredError(_ElementMean):
    """Mean squared error per element, in the squared unit of the data."""

    unit = "squared units of x"

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction - x).square()


class MeanAbsoluteError(_ElementMean):
    """Mean absolute error per element, in the unit of the data."""

    unit = "units of x"

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction - x).abs()


class Accuracy(_ElementMean):
    """Fraction of elements whose rounded reconstruction equals x, for categorical and binary data."""

    higher_is_better = True

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return model.spec.domain.kind in ("category", "binary")

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction.round() == x).float()


class R2Score(ModelMetric):
    """R²: 1 - squared error / variance of the data about their mean sample. 1 is perfect, 0 equals predicting the mean.

    Squared error and variance are summed over all elements before the division, so that an element counts in proportion
    to its variance. Constant data have no R² (NaN). In a test, ``mse_of_mean`` is the squared error per element of
    predicting the mean of training samples.
    """

    error: Tensor
    """``()``: sum of the squared error over elements."""
    total: Tensor
    """``(*shape)``: sum of x over samples."""
    squares: Tensor
    """``(*shape)``: sum of x² over samples."""
    count: Tensor
    """``(*shape)``: number of samples in which each element is evaluated."""
    higher_is_better = True
    baselines = MappingProxyType({"mse_of_mean": Baseline("mse", "the mean training sample")})
    by_position = True
    uses_training_samples = True

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.start_training_samples()
        self.add_state("error", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        for name in ("total", "squares", "count"):
            self.add_state(name, torch.zeros(model.spec.shape, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return not model.spec.domain.has_classes

    def start_training_samples(self) -> None:
        self._num_training = 0
        self._training_total: Tensor | float = 0.0
        self._training_count: Tensor | float = 0.0

    def update_training(self, model: Autoencoder, batch: Batch, latent: Latent) -> None:
        observed = observed_elements(batch)
        self._num_training += len(batch)
        self._training_total = self._training_total + torch.where(observed, batch.x.to(SUM_DTYPE), 0.0).sum(0)
        self._training_count = self._training_count + observed.sum(0)

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        evaluated = evaluated_elements(out)
        x = torch.where(evaluated, out.batch.x.to(SUM_DTYPE), 0.0)
        error = torch.where(evaluated, model.loss.mean(out.output).to(SUM_DTYPE) - x, 0.0)
        self.error = self.error + error.square().sum()
        self.total, self.squares = self.total + x.sum(0), self.squares + x.square().sum(0)
        self.count = self.count + evaluated.sum(0)

    def compute(self) -> dict[str, Tensor]:
        # An element that is masked in every sample has no mean and adds 0.
        variation = (self.squares - self.total.square() / self.count.clamp(min=1)).clamp(min=0).sum()
        values = {"r2": 1 - self.error / variation}
        if isinstance(self._training_count, Tensor):
            mean = self._training_total / self._training_count.clamp(min=1)
            error = (self.squares - 2 * mean * self.total + mean.square() * self.count).clamp(min=0).sum()
            values["mse_of_mean"] = error / self.count.sum()
        return values

    def protocol(self) -> str:
        return f"mse_of_mean predicts the mean of {self._num_training} training samples" if self._num_training else ""


def observed_elements(batch: Batch) -> Tensor:
    """Return ``(B, *shape)``: True for the elements of x that the mask does not leave out."""
    x, mask = batch.x, batch.mask
    return torch.ones_like(x, dtype=torch.bool) if mask is None else broadcast_mask(mask, x.ndim).expand_as(x)


def evaluated_elements(out: ForwardOutput) -> Tensor:
    """Return ``(B, *shape)``: True for the elements that are evaluated, which are those where the mask is True.

    If a corruption has hidden part of the input, only its hidden elements are evaluated: the others could be copied.
    """
    valid = observed_elements(out.batch)
    return valid & out.encoder_input.extras["hidden"] if "hidden" in out.encoder_input.extras else valid
