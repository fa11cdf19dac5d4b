"""Measure a model on held-out data: the means of its terms, and every metric that applies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from aeframe.autoencoder import Autoencoder
from aeframe.batch import Batch, Clock, Pass
from aeframe.build import build
from aeframe.errors import AeframeError
from aeframe.evaluation.base import PassMetric
from aeframe.evaluation.sums import SUM_DTYPE, TermMeans
from aeframe.noise import EVALUATION, noise_of
from aeframe.registry import registry

LATENT_METRICS = ("active_units", "aggregate_posterior", "codebook", "dead_features")
"""Measured on every modality, wherever the latent is of their kind."""


class Evaluator(nn.Module):
    """A measurement of one model, fed batch by batch.

    Where the latent gives a posterior, z is drawn for the terms and the bound, which are expectations over it, and
    is the mean for the metrics, which look at the reconstruction. The draws are a function of `seed` and of the
    batch's number, so an evaluation repeats itself and leaves the training's noise alone.

    Args:
        model: The autoencoder, which stays outside: nothing here is a parameter, or saved.
        metrics: Options by registered name, see `metrics_of`; what does not apply to the model is left out.
        seed: Where the draws come from.
    """

    metrics: nn.ModuleDict

    def __init__(self, model: Autoencoder, metrics: Mapping[str, Mapping[str, Any] | None], *, seed: int) -> None:
        super().__init__()
        # Not through nn.Module, which would make the model's parameters ours.
        object.__setattr__(self, "_model", model)
        self.seed = seed
        self.means = TermMeans()
        built = {label: _metric(label, options, model) for label, options in metrics.items() if options is not None}
        self.metrics = nn.ModuleDict({label: metric for label, metric in built.items() if metric is not None})

    @torch.no_grad()
    def update(self, batch: Batch, clock: Clock, index: int) -> None:
        """Take in one batch, without waiting for the device.

        Args:
            batch: Clean samples, on the model's device.
            clock: The moment whose weights count in ``loss``.
            index: The number of this batch in the evaluation.
        """
        model = self._own_model()
        if self.means.device != batch.x.device:
            self.to(batch.x.device)
        draw, num_samples = "posterior" in model.latent.gives, model.objective.num_samples
        with evaluation_mode(model):
            with noise_of(batch.x.device, self.seed, EVALUATION, index):
                drawn: Pass = model(batch, sample=draw, num_samples=num_samples)
                self.means.update(_values(model, drawn, clock))
            by_mean = drawn
            if draw or num_samples is not None:
                # The noise of the first pass again, so that a corruption of held-out samples is the same one.
                with noise_of(batch.x.device, self.seed, EVALUATION, index):
                    by_mean = model(batch, sample=False)
            for metric in self._own_metrics():
                metric.update(model, drawn if metric.drawn else by_mean)

    @torch.no_grad()
    def compute(self) -> dict[str, float]:
        """Return every mean and metric by name: raw terms, ``loss`` (their weighted sum), ``bound``, metrics.

        The terms of a second player stand behind its name: ``discriminator/loss``.

        Raises:
            AeframeError: Nothing was evaluated, or two measurements have one name.
        """
        if not self.means.names:
            raise AeframeError("nothing was evaluated: the split has no batch; give it at least one sample")
        found: dict[str, Tensor] = dict(self.means.compute())
        for label, metric in self.metrics.items():
            value = cast("PassMetric", metric).compute()
            for name, number in (value if isinstance(value, dict) else {label: value}).items():
                if name in found:
                    raise AeframeError(
                        f"metric '{label}' gives '{name}', which is measured already; "
                        f"leave one out with metrics.{label}=null"
                    )
                found[name] = number
        # One transfer for all of them.
        numbers = torch.stack([number.to(SUM_DTYPE) for number in found.values()]).tolist()
        return dict(zip(found, numbers, strict=True))

    def reset(self) -> None:
        """Forget what was taken in."""
        self.means.reset()
        for metric in self._own_metrics():
            metric.reset()

    def _own_model(self) -> Autoencoder:
        model: Autoencoder = self.__dict__["_model"]
        return model

    def _own_metrics(self) -> Iterator[PassMetric]:
        return cast("Iterator[PassMetric]", iter(self.metrics.values()))


def metrics_of(names: Iterable[str], over: Mapping[str, Any] | None = None) -> dict[str, Mapping[str, Any] | None]:
    """Return what a run measures: a modality's `names`, those of the latent, and the run's own choice over them.

    Args:
        names: `Modality.metrics`.
        over: A run's ``metrics``: options by name; null takes a metric away.
    """
    return {**{name: {} for name in (*names, *LATENT_METRICS)}, **(over or {})}


def measure(evaluator: Evaluator, batches: Iterable[Batch], clock: Clock, device: torch.device) -> dict[str, float]:
    """Measure a whole split, from first batch to last."""
    for index, batch in enumerate(batches):
        evaluator.update(batch.to(device), clock, index)
    return evaluator.compute()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode inside, and give each of its modules its own mode back."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _metric(label: str, options: Mapping[str, Any], model: Autoencoder) -> PassMetric | None:
    """Build one metric, or return None where it does not apply."""
    config = {"name": label, **options}
    kind = registry().load("metric", config["name"])
    if not kind.applies(model):
        return None
    metric: PassMetric = build("metric", config, model=model)
    return metric


def _values(model: Autoencoder, p: Pass, clock: Clock) -> dict[str, Tensor]:
    """Return everything that is minimised, by sample: ``(B,)`` each."""
    terms = model.terms(p, clock)
    values = {**terms.raw, "loss": terms.total()}
    if terms.bound is not None:
        values["bound"] = terms.bound
    for player, opponent in model.opponents().items():
        theirs = opponent.terms(model, p.detach(), clock)
        values |= {f"{player}/{name}": value for name, value in {**theirs.raw, "loss": theirs.total()}.items()}
    return values
