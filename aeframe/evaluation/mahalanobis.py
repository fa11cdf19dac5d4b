"""The Mahalanobis distance of a sample's reconstruction and residual from those of the training samples."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.step import evaluation_mode
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch

_MAX_ELEMENTS = 2048
"""Largest number of elements of a sample, since the covariance has as many squared, times four."""


@dataclass(frozen=True, slots=True)
class MahalanobisDistance:
    """The squared Mahalanobis distance of reconstruction and residual, a vector of twice the elements E of a sample.

    A reconstruction error alone misses anomalies that are common enough in training for the model to learn them: they
    are far from other samples along the model's own directions. Both parts are in the unit of x. Process monitoring
    combines the same two as the T² and Q statistics (Yue & Qin 2001, Industrial & Engineering Chemistry Research 40).
    """

    mean: Tensor
    """``(2 E,)``: the mean over training samples."""
    precision: Tensor
    """``(2 E, 2 E)``: the inverse of their covariance, estimated with shrinkage (Ledoit & Wolf 2004, Journal of
    Multivariate Analysis 88)."""

    @classmethod
    def fit(cls, model: Autoencoder, batches: Iterable[Batch]) -> MahalanobisDistance:
        """Estimate mean and covariance from samples, with a model in evaluation mode on their device."""
        from sklearn.covariance import LedoitWolf

        with torch.no_grad(), evaluation_mode(model):
            values = torch.cat([_reconstruction_and_residual(model, batch).double().cpu() for batch in batches])
        estimate = LedoitWolf().fit(values.numpy())
        return cls(torch.from_numpy(estimate.location_), torch.from_numpy(estimate.get_precision()))

    def __call__(self, model: Autoencoder, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the distance of each sample ``(B,)``, and what each element contributes, ``(B, *shape)``, at least 0.

        Args:
            model: The model, in evaluation mode.
            batch: The samples, on the model's device.
        """
        # In double precision on the CPU, which all devices have.
        deviation = _reconstruction_and_residual(model, batch).double().cpu() - self.mean
        products = (deviation * (deviation @ self.precision)).unflatten(1, (2, *batch.x.shape[1:]))
        return products.flatten(1).sum(1), products.sum(1).clamp(min=0)


def check_mahalanobis(who: str, model: Autoencoder) -> None:
    """Check that samples of a model have a Mahalanobis distance.

    Raises:
        AeframeError: They are categories, have unordered elements, or too many.
    """
    spec, num = model.spec, math.prod(model.spec.shape)
    found = None
    if spec.domain.has_classes or spec.unordered or not model.loss.by_position:
        found = f"{spec.domain.kind} values" if not spec.unordered else "unordered elements"
    elif num > _MAX_ELEMENTS:
        found = f"{num} elements"
    if found is not None:
        raise AeframeError(
            f"{who} scores by mahalanobis samples of at most {_MAX_ELEMENTS} numbers that its loss compares by "
            f"position, found {found}; choose reconstruction"
        )


def _reconstruction_and_residual(model: Autoencoder, batch: Batch) -> Tensor:
    """Return the reconstruction and what it lacks of x ``(B, 2 E)``; the residual is 0 where x is masked."""
    x_hat = model.generate(model.embed(batch).mean, condition=batch.condition, like=batch)
    residual = batch.nan_masked_x().to(x_hat.dtype) - x_hat
    return torch.stack([x_hat, residual.nan_to_num(nan=0.0)], 1).flatten(1)
