"""How well errors point to the moments that are known to be anomalies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.types import ForwardOutput

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder


class AnomalyRanking(ModelMetric):
    """Rank all moments of all windows by their squared error, the mean over what each has, and ask where the anomalies
    are.

    ``anomaly_auroc``: the chance that an anomaly has a larger error than an ordinary moment, 0.5 for no skill.
    ``anomaly_ap``: average precision, for no skill the share of anomalies. Ties count half. Where a split has only
    anomalies, or none, both are 0. Moments that several windows hold count in each.
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
        counted = evaluated_elements(out)
        errors = torch.where(counted, (model.loss.mean(out.output) - out.batch.x).square(), 0.0)
        there = counted.sum(1)
        known = there > 0
        self.errors.append((errors.sum(1) / there)[known].double())
        self.flags.append(out.batch.extras["anomaly"][known])

    def compute(self) -> dict[str, Tensor]:
        errors, flags = _joined(self.errors), _joined(self.flags)
        auroc, precision = ranking(errors, flags)
        return {"anomaly_auroc": auroc, "anomaly_ap": precision}


def ranking(scores: Tensor, flags: Tensor) -> tuple[Tensor, Tensor]:
    """Return the area under the ROC curve and the average precision of scores ``(N,)`` for flags ``(N,)``."""
    values, place = scores.unique(return_inverse=True)
    # By value, largest first: how many anomalies and how many ordinary moments have it.
    hits = torch.zeros(len(values), dtype=torch.float64, device=scores.device).index_add_(0, place, flags.double())
    misses = torch.zeros_like(hits).index_add_(0, place, (~flags).double())
    hits, misses = hits.flip(0), misses.flip(0)
    num_hits, num_misses = hits.sum(), misses.sum()
    if not num_hits or not num_misses:
        return hits.new_zeros(()), hits.new_zeros(())
    above = hits.cumsum(0)
    auroc = (misses * (above - 0.5 * hits)).sum() / (num_hits * num_misses)
    return auroc, (hits * above / (above + misses.cumsum(0))).sum() / num_hits


def _joined(rows: list[Tensor] | Tensor) -> Tensor:
    # After devices have met, torchmetrics has made one tensor of the list.
    return rows if isinstance(rows, Tensor) else torch.cat(rows)
