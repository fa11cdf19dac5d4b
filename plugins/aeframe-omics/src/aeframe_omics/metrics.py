"""The metric ``poisson_deviance`` of reconstructed counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder


class PoissonDeviance(ModelMetric):
    """The Poisson deviance of the reconstructed means m, ``2 sum_g (x log(x / m) - x + m)``, averaged over cells.

    0 is perfect. Models with different likelihoods can be compared by it.
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

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        mean, x = model.loss.mean(out.output).to(SUM_DTYPE), out.batch.x.to(SUM_DTYPE)
        deviance = 2 * (torch.special.xlogy(x, x / mean.clamp(min=torch.finfo(torch.float32).tiny)) - x + mean)
        self.total = self.total + per_sample(torch.where(evaluated_elements(out), deviance, 0.0)).sum()
        self.cells = self.cells + len(x)

    def compute(self) -> Tensor:
        return self.total / self.cells
