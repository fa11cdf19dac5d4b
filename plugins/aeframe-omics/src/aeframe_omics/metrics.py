"""What people measure on reconstructed counts."""

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

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        mean, x = model.loss.mean(out.output).to(SUM_DTYPE), out.batch.x.to(SUM_DTYPE)
        deviance = 2 * (torch.special.xlogy(x, x / mean.clamp(min=torch.finfo(torch.float32).tiny)) - x + mean)
        self.total = self.total + per_sample(torch.where(evaluated_elements(out), deviance, 0.0)).sum()
        self.cells = self.cells + len(x)

    def compute(self) -> Tensor:
        return self.total / self.cells
