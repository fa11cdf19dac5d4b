"""Use of the features of a sparse latent: dead features and mean number of active features."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import ForwardOutput


class DeadFeatures(ModelMetric):
    """Measure ``dead_features``, the fraction of features that are zero in every sample, and ``l0``, the mean number of
    nonzero features of a sample.
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
        return "sparse" in model.latent.provides

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        self.active = self.active + (out.latent.mean != 0).sum(0)
        self.count = self.count + len(out.latent.mean)

    def compute(self) -> dict[str, Tensor]:
        return {
            "dead_features": (self.active == 0).to(SUM_DTYPE).mean(),
            "l0": self.active.sum().to(SUM_DTYPE) / self.count,
        }
