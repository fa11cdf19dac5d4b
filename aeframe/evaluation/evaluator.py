"""Measure a model on held-out data: a callback for any Trainer, and a function for a plain loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.evaluation.metrics.sums import SUM_DTYPE, TermMeans
from aeframe.evaluation.step import EvaluationOutput, evaluate_batch, evaluation_mode
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.registry import registry
from aeframe.types import Batch, TrainingProgress

LATENT_METRICS = ("active_units", "aggregate_posterior", "codebook", "dead_features")
"""Measured on every modality, wherever the latent is of their kind."""


class Evaluator(Callback):
    """Compute metrics of a model on validation and test batches.

    As a callback it reads the `EvaluationOutput` that `AutoencoderModule` returns for each batch, and adds its numbers
    to the module's own. Without a Trainer, see `measure`.

    Args:
        model: The autoencoder that is measured.
        metrics: Options by registered name, see `metrics_of`; those that do not apply to the model are left out.
        seed: Where the draws of `measure` come from.
    """

    def __init__(self, model: Autoencoder, metrics: Mapping[str, Mapping[str, Any] | None], *, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self.means = TermMeans()
        built = {label: _metric(label, options, model) for label, options in metrics.items() if options is not None}
        self.metrics = nn.ModuleDict({label: metric for label, metric in built.items() if metric is not None})

    # -- in a Trainer --------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start anew, on the module's device."""
        self.reset()
        self.to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Update every metric."""
        found = outputs.get("evaluation") if isinstance(outputs, Mapping) else None
        if isinstance(found, EvaluationOutput):
            with trainer.precision_plugin.forward_context():
                self._update_metrics(found)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the numbers to those of the module."""
        self._add(pl_module, "val")

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start anew, on the module's device."""
        self.on_validation_epoch_start(trainer, pl_module)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Update every metric."""
        self.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the numbers to those of the module."""
        self._add(pl_module, "test")

    def _add(self, pl_module: L.LightningModule, split: str) -> None:
        numbers = _to_host(self._computed())
        measured = getattr(pl_module, "measured", None)
        if isinstance(measured, dict):
            measured.setdefault(split, {}).update(numbers)

    # -- in a plain loop -----------------------------------------------------------------------------------------

    def update(self, batch: Batch, progress: TrainingProgress, index: int) -> None:
        """Evaluate one batch, without waiting for the device.

        Args:
            batch: Clean samples, on the model's device.
            progress: The progress whose weights count in ``loss``.
            index: The number of this batch in the evaluation.
        """
        if self.means.device != batch.x.device:
            self.to(batch.x.device)
        output = evaluate_batch(self.model, batch, progress, seed=self.seed, index=index)
        self.means.update(output.values)
        self._update_metrics(output)

    @torch.no_grad()
    def compute(self) -> dict[str, float]:
        """Return every mean and metric by name: raw terms, ``loss`` (their weighted sum), ``bound``, metrics.

        The terms of an opponent stand behind its name: ``discriminator/loss``.

        Raises:
            AeframeError: Nothing was evaluated, or two measurements have one name.
        """
        if not self.means.names:
            raise AeframeError("nothing was evaluated: the split has no batch; give it at least one sample")
        means = self.means.compute()
        return _to_host({**means, **self._computed(taken=frozenset(means))})

    def reset(self) -> None:
        """Forget what was evaluated."""
        self.means.reset()
        for metric in self._metrics():
            metric.reset()

    def to(self, device: torch.device) -> None:
        """Move all states to a device."""
        self.means.to(device)
        self.metrics.to(device)

    @torch.no_grad()
    def _update_metrics(self, output: EvaluationOutput) -> None:
        with evaluation_mode(output.model):
            for metric in self._metrics():
                metric.update(output.model, output.drawn if metric.drawn else output.by_mean())

    def _computed(self, taken: frozenset[str] = frozenset()) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for label, metric in self.metrics.items():
            value = cast("ModelMetric", metric).compute()
            for name, number in (value if isinstance(value, dict) else {label: value}).items():
                if name in found or name in taken:
                    raise AeframeError(
                        f"metric '{label}' computes '{name}', which is measured already; "
                        f"leave one out with metrics.{label}=null"
                    )
                found[name] = number
        return found

    def _metrics(self) -> Iterator[ModelMetric]:
        return cast("Iterator[ModelMetric]", iter(self.metrics.values()))


def metrics_of(names: Iterable[str], over: Mapping[str, Any] | None = None) -> dict[str, Mapping[str, Any] | None]:
    """Return what a run measures: a modality's `names`, those of the latent, and the run's own choice over them.

    Args:
        names: `Modality.metrics`.
        over: A run's ``metrics``: options by name; null takes a metric away.
    """
    return {**{name: {} for name in (*names, *LATENT_METRICS)}, **(over or {})}


def measure(
    evaluator: Evaluator, batches: Iterable[Batch], progress: TrainingProgress, device: torch.device
) -> dict[str, float]:
    """Measure a whole split, from first batch to last."""
    for index, batch in enumerate(batches):
        evaluator.update(batch.to(device), progress, index)
    return evaluator.compute()


def _to_host(numbers: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the numbers as floats, with one transfer for all of them."""
    if not numbers:
        return {}
    values = torch.stack([number.to(SUM_DTYPE) for number in numbers.values()]).tolist()
    return dict(zip(numbers, values, strict=True))


def _metric(label: str, options: Mapping[str, Any], model: Autoencoder) -> ModelMetric | None:
    """Build one metric, or return None where it does not apply."""
    config = {"name": label, **options}
    kind = registry().load("metric", config["name"])
    if not kind.applies(model):
        return None
    metric: ModelMetric = build("metric", config, model=model)
    return metric


__all__ = ["LATENT_METRICS", "EvaluationOutput", "Evaluator", "evaluation_mode", "measure", "metrics_of"]
