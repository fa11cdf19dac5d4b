"""Rate and distortion of finished runs, such as those of a sweep over beta, and which of them are best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aeframe.errors import AeframeError
from aeframe.runs.comparison import ComparedRun


@dataclass(frozen=True, slots=True)
class RateDistortion:
    """A point of the rate-distortion plane (Alemi et al. 2018, arXiv 1711.00464)."""

    run: ComparedRun
    rate: float
    """KL from the posterior to the prior, in nats per sample: an upper bound on the mutual information of x and z."""
    distortion: float
    """Negative log-likelihood of the reconstruction, in nats per sample."""
    on_front: bool
    """Whether no other run has a lower rate at no more distortion, or less distortion at no higher rate."""

    @property
    def bound(self) -> float:
        """Rate plus distortion: minus the evidence lower bound."""
        return self.rate + self.distortion


def rate_distortion(runs: Sequence[ComparedRun], likelihoods: Sequence[bool]) -> list[RateDistortion]:
    """Return the points of runs, by rising rate.

    Args:
        runs: Runs of `aeframe.runs.comparison.read_runs`.
        likelihoods: Whether the loss of each run is a likelihood, so that its distortion is in nats.

    Raises:
        AeframeError: A run has no KL or no reconstruction in nats, or runs have different losses.
    """
    for run, is_likelihood in zip(runs, likelihoods, strict=True):
        name, loss = run.names[0], run.settings.get("loss", "")
        missing = [
            metric for metric in ("kl", "reconstruction") if not math.isfinite(run.metrics.get(metric, math.nan))
        ]
        if missing:
            raise AeframeError(
                f"run '{name}' has no finite test metric {' and '.join(missing)}, so it has no point on the "
                "rate-distortion curve; leave it out, or train a model with a posterior, such as vae"
            )
        if not is_likelihood:
            raise AeframeError(
                f"run '{name}' has the loss {loss}, whose distortion is not in nats as its rate is; leave it out, or "
                "train with a likelihood, such as gaussian or bernoulli"
            )
        if loss != runs[0].settings.get("loss", ""):
            raise AeframeError(
                f"run '{name}' has the loss {loss}, and '{runs[0].names[0]}' has {runs[0].settings.get('loss', '')}; "
                "compare the rate and distortion of runs with the same loss"
            )
    points = [(run.metrics["kl"], run.metrics["reconstruction"]) for run in runs]
    found = [
        RateDistortion(run, *point, on_front=not any(_dominates(other, point) for other in points))
        for run, point in zip(runs, points, strict=True)
    ]
    return sorted(found, key=lambda each: (each.rate, each.distortion))


def _dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Return whether a is nowhere larger than b, and smaller in one coordinate."""
    return a[0] <= b[0] and a[1] <= b[1] and a != b
