"""`Evaluator`: metrics of a model on held-out data, as a Lightning callback or in a plain loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from aeframe.data.modality import Source
from aeframe.errors import AeframeError, did_you_mean
from aeframe.evaluation.anomalies import subset_batches
from aeframe.evaluation.metric_table import MetricTable
from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.metrics.term_means import TermMeans
from aeframe.evaluation.reconstruction import PROTOCOL, draws_units
from aeframe.evaluation.step import EvaluationOutput, evaluate_batch, evaluation_mode
from aeframe.factory import build, signature
from aeframe.model.autoencoder import Autoencoder
from aeframe.registry import registry
from aeframe.types import Batch, TrainingProgress

if TYPE_CHECKING:
    from aeframe.data.modality import Modality

LATENT_METRICS = ("active_units", "aggregate_posterior", "codebook", "fve", "prior_gap", "sparsity")
"""Metrics of the latent, computed for every modality if they are defined for the model."""


class Evaluator(Callback):
    """Compute metrics of a model on validation and test batches.

    As a callback it reads the `EvaluationOutput` that `AutoencoderModule` (the LightningModule of a run) returns for
    each batch, and adds its values to the dictionary ``measured`` of the module. Without a Trainer, use `measure`.

    Args:
        model: The evaluated autoencoder.
        metrics: Options of each metric by registered name, see `metrics_of`. Metrics that are not defined for the
            model, or that compare unordered elements by their position, are left out.
        seed: Seed of the random draws of `measure`.
        modality: The prepared modality, for metrics in the unit of the data; without it they are left out.
        test_only: Names in `metrics` that are left out of the validation in a Trainer, beside those whose class is
            `test_only`.

    Raises:
        AeframeError: A name of `test_only` is none of `metrics`.
    """

    def __init__(
        self,
        model: Autoencoder,
        metrics: Mapping[str, Mapping[str, Any] | None],
        *,
        seed: int = 0,
        modality: Modality | None = None,
        test_only: Sequence[str] = (),
    ) -> None:
        _check_test_only(test_only, metrics)
        self.model, self.seed = model, seed
        self.training_samples: Source | None = None
        """The training split for `observe_training_samples` in a test; None to leave it out."""
        self.validates = False
        """Whether the metrics of the test only are left out."""
        self.means = TermMeans()
        # The metric of each value that was computed last.
        self._metric_of: dict[str, str] = {}
        built = {
            name: _build(name, options, model, modality) for name, options in metrics.items() if options is not None
        }
        self.metrics = nn.ModuleDict({name: metric for name, metric in built.items() if metric is not None})
        self._test_only = {*test_only, *(name for name, metric in built.items() if metric and metric.test_only)}

    # -- in a Trainer --------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reset all metrics and move them to the module's device."""
        self._begin(pl_module.device, validates=True)

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
        output = outputs.get("evaluation") if isinstance(outputs, Mapping) else None
        if isinstance(output, EvaluationOutput):
            # The autocast context of the forward pass.
            with trainer.precision_plugin.forward_context():
                self._update_metrics(output)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the values to those that the module has measured."""
        self._add_values(pl_module, "val")
        self.validates = False

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reset all metrics and move them to the module's device."""
        self._begin(pl_module.device, validates=False)

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
        """Add the values to those that the module has measured, with those of training samples."""
        if self.training_samples is not None:
            with trainer.precision_plugin.forward_context():
                self.observe_training_samples(self.training_samples, pl_module.device)
        self._add_values(pl_module, "test")

    def _begin(self, device: torch.device, *, validates: bool) -> None:
        self.validates = validates
        self.reset()
        self.to(device)

    def _add_values(self, pl_module: L.LightningModule, split: str) -> None:
        values = _to_host(self._computed())
        measured = getattr(pl_module, "measured", None)
        if isinstance(measured, dict):
            measured.setdefault(split, {}).update(values)

    # -- training samples ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def observe_training_samples(self, train: Source, device: torch.device) -> None:
        """Pass training samples to the metrics that use them, such as the baseline ``mse_of_mean``.

        Args:
            train: The training split. A random subset of at most 2,048 samples is embedded; `read_training_split` of a
                metric may read more of it.
            device: The device of the model.
        """
        for metric in self._metrics():
            metric.read_training_split(train, seed=self.seed)
        used = [metric for metric in self._metrics() if metric.uses_training_samples]
        for metric in used:
            metric.start_training_samples()
        if not used:
            return
        dtype = next((parameter.dtype for parameter in self.model.parameters()), torch.float32)
        with evaluation_mode(self.model):
            for batch in subset_batches(train, self.seed):
                batch = _in_dtype(batch.to(device), dtype)
                latent = self.model.embed(batch)
                for metric in used:
                    metric.update_training(self.model, batch, latent)

    # -- in a plain loop -----------------------------------------------------------------------------------------

    def update(self, batch: Batch, progress: TrainingProgress, index: int) -> None:
        """Evaluate one batch, without synchronising with the device.

        Args:
            batch: Clean samples, on the model's device.
            progress: Training progress, which determines the weights in ``loss``.
            index: Index of the batch in the evaluation.
        """
        if self.means.device != batch.x.device:
            self.to(batch.x.device)
        output = evaluate_batch(self.model, batch, progress, seed=self.seed, index=index)
        self.means.update(output.terms)
        self._update_metrics(output)

    @torch.no_grad()
    def compute(self) -> dict[str, float]:
        """Return by name: mean unweighted loss terms, ``loss`` (their weighted sum), ``bound`` and metrics.

        Loss terms of a critic are prefixed with its label, as in ``discriminator_x/loss``.

        Raises:
            AeframeError: No batch was evaluated, or two values have the same name.
        """
        if not self.means.names:
            raise AeframeError("nothing was evaluated: the split has no batch; add at least one sample")
        means = self.means.compute()
        return _to_host({**means, **self._computed(reserved=frozenset(means))})

    def protocols(self) -> dict[str, str]:
        """Return in words how each metric has measured, by name, where it says so (`ModelMetric.protocol`)."""
        sentences = {}
        for name, metric in cast("Mapping[str, ModelMetric]", self.metrics).items():
            reconstructs = metric.by_position and not metric.sampled and draws_units(self.model)
            sentences[name] = "; ".join(filter(None, (metric.protocol(), PROTOCOL if reconstructs else "")))
        return {name: sentence for name, sentence in sentences.items() if sentence}

    def protocols_by_value(self) -> dict[str, str]:
        """Return the same for each value that was computed last: a metric may compute several."""
        sentences = self.protocols()
        return {value: sentences[metric] for value, metric in self._metric_of.items() if metric in sentences}

    def tables(self) -> dict[str, MetricTable]:
        """Return the tables of the metrics that have one, by name, of the values that were computed last."""
        tables = {name: cast("ModelMetric", metric).table() for name, metric in self.metrics.items()}
        return {name: table for name, table in tables.items() if table is not None}

    def reset(self) -> None:
        """Clear all sums."""
        self.means.reset()
        for metric in self._metrics():
            metric.reset()

    def to(self, device: torch.device) -> None:
        """Move all sums to a device."""
        self.means.to(device)
        self.metrics.to(device)

    @torch.no_grad()
    def _update_metrics(self, output: EvaluationOutput) -> None:
        if output.is_repeated:
            return
        with evaluation_mode(output.model):
            for metric in self._active().values():
                metric.update(output.model, output.sampled if metric.sampled else output.at_mean())

    def _computed(self, reserved: frozenset[str] = frozenset()) -> dict[str, Tensor]:
        """Return all values of the metrics by name; raise AeframeError for a name that occurs twice or is reserved."""
        values: dict[str, Tensor] = {}
        # Their order must not depend on what was evaluated before, such as validation in a run that is not resumed.
        self._metric_of.clear()
        for label, metric in self._active().items():
            computed = metric.compute()
            for name, value in (computed if isinstance(computed, dict) else {label: computed}).items():
                if name in values or name in reserved:
                    raise AeframeError(
                        f"metric '{label}' computes '{name}', which another metric or loss term is named; "
                        f"leave one out with metrics.{label}=null"
                    )
                values[name] = value
                self._metric_of[name] = label
        return values

    def _active(self) -> dict[str, ModelMetric]:
        metrics = cast("Mapping[str, ModelMetric]", self.metrics)
        return {name: each for name, each in metrics.items() if not (self.validates and name in self._test_only)}

    def _metrics(self) -> Iterator[ModelMetric]:
        return cast("Iterator[ModelMetric]", iter(self.metrics.values()))


def metrics_of(names: Iterable[str], overrides: Mapping[str, Any] | None = None) -> dict[str, Mapping[str, Any] | None]:
    """Return the options of a run's metrics by name.

    The metrics are those of the modality and of the latent, updated by the run's config.

    Args:
        names: `Modality.metrics`.
        overrides: ``metrics`` of the run's config: options by name; null removes a metric.
    """
    return {**{name: {} for name in (*names, *LATENT_METRICS)}, **(overrides or {})}


def _check_test_only(names: Sequence[str], metrics: Mapping[str, Any]) -> None:
    for name in names:
        if metrics.get(name) is None:
            raise AeframeError(
                f"test_only names the metric '{name}', which this run does not compute{did_you_mean(name, metrics)}; "
                f"add it with metrics.{name}={{}}, or leave it out of test_only"
            )


def grouped_protocols(protocols: Mapping[str, str]) -> dict[str, str]:
    """Return protocols by the names of all metrics that have the same, such as ``mse, mae``."""
    names: dict[str, list[str]] = {}
    for name, sentence in protocols.items():
        names.setdefault(sentence, []).append(name)
    return {", ".join(same): sentence for sentence, same in names.items()}


def measure(
    evaluator: Evaluator, batches: Iterable[Batch], progress: TrainingProgress, device: torch.device
) -> dict[str, float]:
    """Evaluate all batches of a split, and return `Evaluator.compute`."""
    for index, batch in enumerate(batches):
        evaluator.update(batch.to(device), progress, index)
    return evaluator.compute()


def _in_dtype(batch: Batch, dtype: torch.dtype) -> Batch:
    """Return a batch with floating-point tensors of that type."""
    return batch.map(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def _to_host(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return scalars as floats, with one transfer from the device for all."""
    if not values:
        return {}
    floats = torch.stack([value.to(SUM_DTYPE) for value in values.values()]).tolist()
    return dict(zip(values, floats, strict=True))


def _build(label: str, options: Mapping[str, Any], model: Autoencoder, modality: Modality | None) -> ModelMetric | None:
    """Return the metric registered as `label`, or as the option ``name``; None if it is not defined for the model."""
    config = {"name": label, **options}
    metric_class = registry().load("metric", config["name"])
    if not metric_class.applies(model) or (model.spec.unordered and metric_class.by_position):
        return None
    if modality is None and "modality" in signature(metric_class).injected:
        return None
    metric: ModelMetric = build("metric", config, model=model, modality=modality)
    return metric


__all__ = ["LATENT_METRICS", "EvaluationOutput", "Evaluator", "evaluation_mode", "measure", "metrics_of"]
