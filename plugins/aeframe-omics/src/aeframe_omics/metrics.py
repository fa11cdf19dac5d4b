"""What people measure on reconstructed counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.batch import Pass, per_sample
from aeframe.evaluation.base import PassMetric
from aeframe.evaluation.reconstruction import counts
from aeframe.evaluation.sums import SUM_DTYPE

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class PoissonDeviance(PassMetric):
    """Twice the log-likelihood that a Poisson with the reconstruction as mean lacks of a perfect one, mean over cells.

    ``2 sum_g (x log(x / m) - x + m)``; 0 is perfect. It compares models whatever likelihood they were trained by.
    """

    total: Tensor
    cells: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "cells"):
            self.add_state(name, torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return model.spec.domain.kind == "count"

    def update(self, model: Autoencoder, p: Pass) -> None:
        mean, x = model.loss.mean(p.output).to(SUM_DTYPE), p.batch.x.to(SUM_DTYPE)
        deviance = 2 * (torch.special.xlogy(x, x / mean.clamp(min=torch.finfo(torch.float32).tiny)) - x + mean)
        self.total = self.total + per_sample(torch.where(counts(p), deviance, 0.0)).sum()
        self.cells = self.cells + len(x)

    def compute(self) -> Tensor:
        return self.total / self.cells
