"""Whether the features of a sparse code are in use."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.evaluation.metrics.sums import SUM_DTYPE
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import ForwardOutput


class DeadFeatures(ModelMetric):
    """Count who speaks: ``dead_features``, the share of features that were zero in every sample, and ``l0``, how many
    were not in a sample, on average.
    """

    spoke: Tensor
    count: Tensor

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.add_state("spoke", torch.zeros(model.latent.shape, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "sparse" in model.latent.provides

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        self.spoke = self.spoke + (out.latent.mean != 0).sum(0)
        self.count = self.count + len(out.latent.mean)

    def compute(self) -> dict[str, Tensor]:
        return {
            "dead_features": (self.spoke == 0).to(SUM_DTYPE).mean(),
            "l0": self.spoke.sum().to(SUM_DTYPE) / self.count,
        }
