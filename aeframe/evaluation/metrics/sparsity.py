"""Quality of a sparse code: explained variance, active features and dead features."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.metrics.reconstruction import R2Score
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import ForwardOutput


class FractionOfVarianceExplained(R2Score):
    """Measure ``fve``, the fraction of the variance of x that the reconstruction explains.

    This is the name of R² in work on sparse autoencoders; it is computed for sparse latents only.
    """

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return _is_sparse(model) and super().applies(model)

    uses_training_samples = False

    def compute(self) -> dict[str, Tensor]:
        return {"fve": super().compute()["r2"]}


class Sparsity(ModelMetric):
    """Measure ``l0``, the mean number of nonzero features of a sample, and ``dead``, the fraction of features that are
    zero in every sample.
    """

    active: Tensor
    """``(features,)``: number of samples in which each feature is nonzero."""
    count: Tensor
    """``()``: number of samples."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.add_state("active", torch.zeros(model.latent.shape, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return _is_sparse(model)

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        self.active = self.active + (out.latent.mean != 0).sum(0)
        self.count = self.count + len(out.latent.mean)

    def compute(self) -> dict[str, Tensor]:
        return {
            "l0": self.active.sum().to(SUM_DTYPE) / self.count,
            "dead": (self.active == 0).to(SUM_DTYPE).mean(),
        }


def _is_sparse(model: Autoencoder) -> bool:
    return "sparse" in model.latent.provides
