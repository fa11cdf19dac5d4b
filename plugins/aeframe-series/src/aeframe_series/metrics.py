"""The metric `anomaly_ranking`: how well reconstruction errors rank known anomalies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.evaluation.anomalies import auroc_and_average_precision
from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.types import ForwardOutput

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder


class AnomalyRanking(ModelMetric):
    """AUROC and average precision of the squared errors of time steps, for known anomalies.

    The error of a time step is the mean over its observed values. A time step that several windows contain counts
    once for each of them. ``anomaly_auroc``: the probability that an anomaly has a larger error than another time
    step, 0.5 by chance; ties count half. ``anomaly_ap``: average precision, by chance the fraction of anomalies.
    Both are 0 for a split without anomalies, and for one with anomalies only.
    """

    errors: list[Tensor]
    flags: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("errors", [], dist_reduce_fx="cat")
        self.add_state("flags", [], dist_reduce_fx="cat")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "anomaly" in model.spec.extras

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        # All tensors are (B, D, T); the error of a time step is a mean over the D columns.
        observed = evaluated_elements(out)
        errors = torch.where(observed, (model.loss.mean(out.output) - out.batch.x).square(), 0.0)
        num_observed = observed.sum(1)
        scored = num_observed > 0
        self.errors.append((errors.sum(1) / num_observed)[scored].double())
        self.flags.append(out.batch.extras["anomaly"][scored])

    def compute(self) -> dict[str, Tensor]:
        auroc, precision = auroc_and_average_precision(_concatenate(self.errors), _concatenate(self.flags))
        return {"anomaly_auroc": auroc, "anomaly_ap": precision}


def _concatenate(state: list[Tensor] | Tensor) -> Tensor:
    # torchmetrics concatenates a list state itself when it synchronises devices.
    return state if isinstance(state, Tensor) else torch.cat(state)
