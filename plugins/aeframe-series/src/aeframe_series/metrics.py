"""How well reconstruction errors rank known anomalies, and how well distances to training windows do.

Shapes: B windows (the samples of the batch); D columns; T time steps; E = D T elements; N training windows.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.anomalies import auroc_and_average_precision
from aeframe.evaluation.metrics.base import SUM_DTYPE, Baseline, ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements, observed_elements
from aeframe.evaluation.metrics.subset import SubsetMetric
from aeframe.types import Batch, ForwardOutput, Latent

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


class NeighbourRanking(SubsetMetric):
    """AUROC and average precision of the distances to training windows: a baseline of ``anomaly_ranking``.

    The score of a window is its distance to the `neighbours`-th nearest of at most 2,048 training windows (Ramaswamy,
    Rastogi & Shim 2000, SIGMOD), a root of the mean over the elements that both have. All its time steps have this
    score, and a time step counts once for each window of the subset that contains it. ``anomaly_auroc_of_neighbours``
    and ``anomaly_ap_of_neighbours`` are 0 for a subset without anomalies, and for one with anomalies only.

    Args:
        samples: Maximum number of windows, a random subset.
        neighbours: The number k of the training window whose distance is the score.
        seed: Seed of the subset.
    """

    baselines = MappingProxyType(
        {
            f"anomaly_{name}_of_neighbours": Baseline(f"anomaly_{name}", "the distance to training windows", True)
            for name in ("auroc", "ap")
        }
    )
    uses_training_samples = True
    test_only = True

    def __init__(self, *, samples: int = 2000, neighbours: int = 5, seed: int = 0) -> None:
        if samples < 2 or neighbours < 1:
            raise AeframeError(
                "metric neighbour_ranking takes samples of at least 2 and neighbours of at least 1, found "
                f"{samples} and {neighbours}"
            )
        super().__init__(samples, seed, "x", "observed", "flags")
        self.neighbours = neighbours
        self.start_training_samples()

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "anomaly" in model.spec.extras

    def start_training_samples(self) -> None:
        self._training: list[tuple[Tensor, Tensor]] = []

    def update_training(self, model: Autoencoder, batch: Batch, latent: Latent) -> None:
        self._training.append((batch.masked_x().flatten(1).float(), observed_elements(batch).flatten(1)))

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        batch = out.batch
        self.store(
            batch,
            x=batch.masked_x().flatten(1).float(),
            observed=observed_elements(batch).flatten(1),
            flags=batch.extras["anomaly"],
        )

    def compute(self) -> dict[str, Tensor]:
        if not self._training or not len(self.keys):
            return {}
        stored = self.stored()
        x, observed = (torch.cat(parts) for parts in zip(*self._training, strict=True))
        distances = pairwise_distances(stored["x"], stored["observed"], x, observed)
        scores = distances.kthvalue(min(self.neighbours, len(x)), dim=1).values
        flags = stored["flags"]
        of_steps = scores.unsqueeze(1).expand(flags.shape)
        auroc, precision = auroc_and_average_precision(of_steps.flatten(), flags.flatten())
        return {"anomaly_auroc_of_neighbours": auroc, "anomaly_ap_of_neighbours": precision}

    def protocol(self) -> str:
        num, of_subset = sum(len(x) for x, _ in self._training), super().protocol()
        if not num or not of_subset:
            return ""
        return f"distance to the {self.neighbours}-th nearest of {num} training windows, {of_subset}"


def pairwise_distances(x: Tensor, x_observed: Tensor, y: Tensor, y_observed: Tensor) -> Tensor:
    """Return root mean squared differences ``(B, N)`` over the elements that both have; infinite without any.

    Args:
        x: ``(B, E)``, 0 where an element is missing.
        x_observed: ``(B, E)`` bool.
        y: ``(N, E)``, 0 where an element is missing.
        y_observed: ``(N, E)`` bool.
    """
    x, of_x, y, of_y = (value.to(SUM_DTYPE) for value in (x, x_observed, y, y_observed))
    squares = x.square() @ of_y.T - 2 * x @ y.T + of_x @ y.square().T
    num = of_x @ of_y.T
    return torch.where(num > 0, squares.clamp(min=0) / num, torch.inf).sqrt()


def _concatenate(state: list[Tensor] | Tensor) -> Tensor:
    # torchmetrics concatenates a list state itself when it synchronises devices.
    return state if isinstance(state, Tensor) else torch.cat(state)
