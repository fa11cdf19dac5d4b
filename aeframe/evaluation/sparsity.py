"""Whether the features of a sparse code are in use."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.autoencoder import Autoencoder
from aeframe.batch import Pass
from aeframe.evaluation.base import PassMetric
from aeframe.evaluation.sums import SUM_DTYPE


class DeadFeatures(PassMetric):
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
        return "sparse" in model.latent.gives

    def update(self, model: Autoencoder, p: Pass) -> None:
        self.spoke = self.spoke + (p.latent.mean != 0).sum(0)
        self.count = self.count + len(p.latent.mean)

    def compute(self) -> dict[str, Tensor]:
        return {
            "dead_features": (self.spoke == 0).to(SUM_DTYPE).mean(),
            "l0": self.spoke.sum().to(SUM_DTYPE) / self.count,
        }
