"""`AutoencoderModule`: the `LightningModule` that trains and evaluates every model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer

from aeframe.data.datamodule import DataModule
from aeframe.data.loader import Loader
from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.term_means import TermMeans
from aeframe.evaluation.step import evaluate_batch
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import TRAINING, seed_noise
from aeframe.training.batch_lists import train_on_batches
from aeframe.training.checkpoint import check_fits, training_state
from aeframe.training.forward_pass import ForwardPass
from aeframe.training.freezing import freeze as freeze_parts
from aeframe.training.gradient_norms import gradient_norms
from aeframe.training.learning_rate import step_schedulers
from aeframe.training.lightning_progress import (
    add_callback_metrics,
    call_before_zero_grad,
    count_batches,
    count_step,
    evaluation_results,
    is_forward_only,
    log_numbers,
    place_loops,
    set_batch_size,
    step_directly,
    steps_directly,
)
from aeframe.training.loader_output import as_batch, as_batches, local_rows_of
from aeframe.training.metric_buffer import MetricBuffer, check_finite_weights
from aeframe.training.optimizer_groups import (
    OptimizerGroup,
    check_ownership,
    make_optimizer_groups,
    planned_batches,
    readings_of,
    synchronized_states,
)
from aeframe.training.packed_training import current_packed_run, give_own_storage
from aeframe.training.sharding import ShardedParameters
from aeframe.types import Batch, TrainingProgress

_DEFAULT_OPTIMIZER: Mapping[str, Any] = {"name": "adam", "lr": 1e-3}
_TRAINED = TrainingProgress(batch=1, planned=1)
"""The progress at the end of a run of unknown length."""


class AutoencoderModule(L.LightningModule):
    """Train an `Autoencoder` in any `L.Trainer`, by manual optimization: one forward pass, then a step of each
    optimizer group.

    Lightning's hooks, optimizers, scaler and strategies are used as in automatic optimization; ``gradient_clip_val``
    and ``accumulate_grad_batches`` of the Trainer apply. Training terms are logged every
    ``trainer.log_every_n_steps`` batches as ``train/...``, their means over an epoch as ``train_epoch/...``, and means
    over held-out data as ``val/...`` and ``test/...``.

    Schedules, the order of the data and the noise of each batch are functions of the training progress `progress`. Each
    checkpoint stores it, so a resumed run equals an uninterrupted one.

    Args:
        model: The autoencoder to train.
        optimizer: ``{name, lr, ...}``; ``lr`` is a number or a schedule.
        optimizers: Settings of single optimizer groups (the autoencoder, or one critic), by name:
            ``{optimizer, clip, accumulate, every, start}``.
        clip: Clip the gradient of each optimizer group to this norm; None for no clipping.
        accumulate: Batches whose gradients are averaged for one step.
        seed: The seed of the random draws in training and evaluation.
        max_batches: End after this many batches, also within an epoch; None for the limits of the Trainer only.
        stretch_schedules: After a resume, spread schedules that are fractions of the run over its new length instead
            of keeping their first length.
        gradient_norms: Log the gradient norm of each term at the first batch of every epoch.
        freeze: Parts that are not trained and stay in evaluation mode, such as ``["encoder", "critics.LABEL"]``.
        lr_factors: Factors of the learning rate of parts of the autoencoder, such as ``{"encoder": 0.1}``.
        callbacks: Callbacks that the module adds to its Trainer, such as an `Evaluator`.
        config: Plain values that describe the run, stored as hyper-parameters in loggers and checkpoints.
    """

    def __init__(
        self,
        model: Autoencoder,
        optimizer: Mapping[str, Any] = _DEFAULT_OPTIMIZER,
        *,
        optimizers: Mapping[str, Any] | None = None,
        clip: float | None = None,
        accumulate: int = 1,
        seed: int = 0,
        max_batches: int | None = None,
        stretch_schedules: bool = False,
        gradient_norms: bool = False,
        freeze: Sequence[str] = (),
        lr_factors: Mapping[str, float] | None = None,
        callbacks: Sequence[Callback] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.sharding = model, ShardedParameters(model)
        self.progress = TrainingProgress()
        self.seed = seed
        self.max_batches, self.stretch_schedules = max_batches, stretch_schedules
        self.batches_per_epoch: float = math.inf
        self.groups: list[OptimizerGroup] = []
        self.metric_buffer, self.term_means = MetricBuffer(self.report), TermMeans()
        self.measured: dict[str, dict[str, float]] = {}
        """The newest metrics of each split, by name."""
        self._settings = dict(optimizer), dict(optimizers or {}), clip, accumulate
        self._frozen, self._lr_factors = freeze_parts(model, freeze), dict(lr_factors or {})
        self._trainer_settings: tuple[float | None, str | None, int] | None = None
        self._measures_gradients = gradient_norms
        self._term_gradient_norms: dict[str, Tensor] = {}
        self._callbacks, self._validated_at = list(callbacks), -1
        self._steps_directly, self._results = False, list[dict[str, Any]]()
        self._restored: dict[str, Any] | None = None
        if config:
            self.save_hyperparameters(dict(config))

    # -- set-up --------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Define ``configure_model`` for `ModelParallelStrategy` only: Lightning's averages warn of it elsewhere."""
        if self.device_mesh is not None:
            self.configure_model = self._shard  # type: ignore[method-assign]

    def _shard(self) -> None:
        if self.device_mesh is not None and self.trainer.state.fn == TrainerFn.FITTING and not self.sharding.active:
            self.sharding.begin(self.device_mesh["data_parallel"])

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks of the module.

        The module clips and accumulates gradients itself, since Lightning rejects these settings of the Trainer in
        manual optimization: they are unset here, and `teardown` restores them.
        """
        trainer = self.trainer
        if trainer.gradient_clip_val is not None or trainer.accumulate_grad_batches != 1:
            algorithm = trainer.gradient_clip_algorithm
            self._trainer_settings = (trainer.gradient_clip_val, algorithm, trainer.accumulate_grad_batches)
            trainer.gradient_clip_val, trainer.accumulate_grad_batches = None, 1
        return self._callbacks

    def configure_optimizers(self) -> list[OptimizerLRSchedulerConfig]:
        """Return the optimizer of each group and its scheduler; each trainable parameter belongs to one group."""
        optimizer, settings, clip, accumulate = self._settings
        if self._trainer_settings is not None:
            clip = clip if self._trainer_settings[0] is None else self._trainer_settings[0]
            accumulate = max(accumulate, self._trainer_settings[2])
        self.groups = make_optimizer_groups(
            self.model,
            optimizer,
            settings,
            clip=clip,
            accumulate=accumulate,
            frozen=self._frozen,
            lr_factors=self._lr_factors,
        )
        check_ownership(self, self.groups)
        return [
            {
                "optimizer": group.optimizer,
                "lr_scheduler": {
                    "scheduler": group.make_scheduler(self.progress),
                    # Used by Lightning's LearningRateMonitor.
                    "name": f"lr-{group.name}",
                    "interval": "step",
                },
            }
            for group in self.groups
        ]

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen.values():
            part.eval()
        return self

    def on_fit_start(self) -> None:
        """Reset the progress to batch 0, unless a checkpoint was loaded or the same Trainer continues."""
        if self._restored is None and self.trainer.global_step == 0:
            self.progress.load_state_dict(TrainingProgress().state_dict())
            self.progress.planned = 0

    def on_train_start(self) -> None:
        """Compute the planned length of the run; restore optimizer groups and buffered terms from a checkpoint."""
        trainer, loader = self.trainer, self.trainer.train_dataloader
        plan = loader.plan if isinstance(loader, Loader) and trainer.limit_train_batches == 1.0 else None
        self.batches_per_epoch = trainer.num_training_batches if plan is None else len(plan)
        if not self.progress.planned or self.stretch_schedules:
            self.progress.planned = planned_batches(
                trainer, self.groups, batches_per_epoch=self.batches_per_epoch, max_batches=self.max_batches
            )
        if plan is not None:
            self.progress.rows = plan.length
        self.restore_groups()
        self._steps_directly = steps_directly(trainer)
        step_schedulers(self.trainer, "step")

    # -- the step ------------------------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Train on a batch, or on each batch of a list; return the detached loss of the last one."""
        batches, packed = as_batches(batch), current_packed_run()
        loss = train_on_batches(self, batches) if packed is None else packed.train_together(self, batches)
        count_batches(self.trainer, self.progress.batch)
        if self.reached_max_batches():
            # If a resumed run had reached the limit before this call, no batch was trained on, and only the last
            # validation is left.
            self.trainer.should_stop = True
        if self.progress.batch_in_epoch >= self.batches_per_epoch:
            # Callbacks read the means in `on_train_epoch_end`, which Lightning calls before that of the module.
            self._log_epoch()
        return loss

    # `DataModule` passes lists of batches only if this is set. A subclass that overrides `training_step` gets batches.
    training_step.works_in_groups = True  # type: ignore[attr-defined]

    def train_on(self, batch: Batch) -> Tensor | None:
        """Update each optimizer group that is due; return the detached loss of the first one."""
        progress = self.progress
        set_batch_size(self.trainer, len(batch))
        rows = local_rows_of(batch, self.trainer)  # All devices are seeded alike, see `BatchNoise`.
        seed_noise(batch.x.device, self.seed, TRAINING, 0, progress.batch)
        if "latent" not in self._frozen:
            # It sets buffers of the latent.
            self.model.set_progress(progress)
        forward = ForwardPass(self.model, batch, self.sharding, rows)
        if is_forward_only(self.trainer):
            progress.advance()
            return None
        first_loss: Tensor | None = None
        for group, optimizer in zip(self.groups, self._lightning_optimizers(), strict=True):
            if not group.is_due(progress):
                continue
            # The gradients of `size` batches are summed for one step, and `is_last` says that this is the last of them.
            size, is_last = group.next_sum(progress, self.batches_per_epoch)
            with self._freeze_others(group, optimizer, sync=is_last):
                terms = forward.terms(group, progress)
                loss = self.metric_buffer.add(group.prefix, group.name, terms, progress, batch, rows=rows)
                first_loss = loss.detach() if first_loss is None else first_loss
                if self.is_measuring_gradients():
                    self.add_gradient_norms(gradient_norms(terms, group.parameters, rows=rows), group)
                loss = loss if size == 1 else loss / size
                if self._steps_directly:
                    loss.backward()
                else:
                    self.manual_backward(loss)
                if is_last:
                    self._step(group, optimizer)
        self._end_batch()
        return first_loss

    def is_measuring_gradients(self) -> bool:
        """Return whether the gradient norm of each term is logged for the next batch."""
        return self._measures_gradients and self.progress.batch_in_epoch == 0

    def add_gradient_norms(self, norms: Mapping[str, Tensor], group: OptimizerGroup) -> None:
        """Keep the gradient norms of the terms of a group until the next report."""
        self._term_gradient_norms |= {f"gradient_norm/{group.prefix}{name}": norm for name, norm in norms.items()}

    def _end_batch(self) -> None:
        self.progress.advance()
        step_schedulers(self.trainer, "step")
        if self.progress.batch % self._log_every == 0:
            self.metric_buffer.flush(self._readings())

    def end_packed_batch(self) -> None:
        """Do what follows a step of the optimizer that was taken for several runs (see `RunPack`)."""
        count_step(self._lightning_optimizers()[0])
        call_before_zero_grad(self, self.groups[0].optimizer)
        self._end_batch()

    def _step(self, group: OptimizerGroup, optimizer: LightningOptimizer) -> None:
        """Step an optimizer, call the hooks, and free the gradients."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        others = [other for other in self.groups if scaler is not None and other is not group and other.num_summed]
        summed = [p.grad for other in others for p in other.parameters if p.grad is not None]
        scale = scaler.get_scale() if scaler is not None and summed else 1.0
        if self._steps_directly:
            self.on_before_optimizer_step(group.optimizer)
            step_directly(optimizer)
        else:
            optimizer.step()
        if scaler is not None and summed:
            # The step may have changed the scale: rescale the gradients that other groups are accumulating.
            torch._foreach_mul_(summed, scaler.get_scale() / scale)
        call_before_zero_grad(self, group.optimizer)
        optimizer.zero_grad(set_to_none=True)
        group.num_summed = 0

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients, which a scaler has already unscaled."""
        group = next(group for group in self.groups if group.optimizer is optimizer)
        algorithm = self._trainer_settings[1] if self._trainer_settings is not None else None
        group.clip_gradients(group.settings.clip, algorithm or "norm")

    def _lightning_optimizers(self) -> list[LightningOptimizer]:
        return optimizers if isinstance(optimizers := self.optimizers(), list) else [optimizers]

    def _freeze_others(
        self, group: OptimizerGroup, optimizer: LightningOptimizer, *, sync: bool
    ) -> AbstractContextManager[None]:
        """Compute gradients of one group only; average them over devices only if `sync`, at the batch of its step."""
        if len(self.groups) == 1 and (sync or self.trainer.world_size == 1):
            return nullcontext()
        return optimizer.toggle_model(sync_grad=sync)

    def reached_max_batches(self) -> bool:
        """Return whether the run has trained on `max_batches`."""
        return self.max_batches is not None and self.progress.batch >= self.max_batches

    @property
    def _log_every(self) -> int:
        return max(1, self.trainer.log_every_n_steps)  # type: ignore[attr-defined]

    def _readings(self) -> dict[str, float]:
        """Return learning rates and gradient norms; this copies the norms to the host."""
        readings = readings_of(self.groups)
        readings |= {name: float(norm) for name, norm in self._term_gradient_norms.items()}
        self._term_gradient_norms.clear()
        return readings

    def _log_epoch(self) -> None:
        means = self.metric_buffer.end_epoch(self._readings())
        means = {f"train/{name}": value for name, value in means.items()}
        add_callback_metrics(self.trainer, means)

    def on_train_epoch_end(self) -> None:
        """Advance the progress, so that later checkpoints resume at the next epoch."""
        # An epoch that ended early has not been logged yet.
        self._log_epoch()
        step_schedulers(self.trainer, "epoch")
        if self.progress.batch_in_epoch >= self.batches_per_epoch:
            self.progress.epoch += 1
            self.progress.batch_in_epoch = 0
        if self.reached_max_batches():
            self.trainer.should_stop = True

    # -- evaluation ----------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Flush the training terms, and check that the weights are finite."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.metric_buffer.flush(self._readings())
            check_finite_weights(self.model, self.progress)
        self._start_evaluation("val")

    def on_validation_model_zero_grad(self) -> None:
        """Free the gradients during validation, unless a group is accumulating them."""
        if not any(group.num_summed for group in self.groups):
            super().on_validation_model_zero_grad()

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the mean ``loss`` of a batch, and its `EvaluationOutput` as ``evaluation`` for callbacks."""
        return self._evaluate(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the means of the validation split."""
        self._end_evaluation("val")
        if not self.trainer.sanity_checking:
            self._validated_at = self.progress.batch

    def on_validation_end(self) -> None:
        """Add the metrics to the result of `trainer.validate`."""
        self._return_results("val")

    def on_test_epoch_start(self) -> None:
        self._start_evaluation("test")

    def test_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the mean ``loss`` of a batch, and its `EvaluationOutput` as ``evaluation`` for callbacks."""
        return self._evaluate(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the means of the test split."""
        self._end_evaluation("test")

    def on_test_end(self) -> None:
        """Add the metrics to the result of `trainer.test`."""
        self._return_results("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the codes ``(B, *z_shape)`` of a batch: the posterior mean where there is a posterior."""
        return self.model.embed(as_batch(batch)).mean

    def _evaluate(self, batch: Any, index: int) -> dict[str, Any]:
        batch = as_batch(batch)
        if self._trainer is not None:
            set_batch_size(self.trainer, len(batch))
        # In Lightning's sanity check the length of the run is unknown: schedules are then evaluated at their end.
        progress = self.progress if self.progress.planned or self.progress.batch else _TRAINED
        output = evaluate_batch(self.model, batch, progress, seed=self.seed, index=index)
        self.term_means.update(output.own_terms())
        return {"loss": output.terms["loss"].mean(), "evaluation": output}

    def _start_evaluation(self, split: str) -> None:
        self.sharding.gather()
        self.term_means.reset()
        self.measured[split] = {}

    def _end_evaluation(self, split: str) -> None:
        """Log the means of the terms, and the metrics that an `Evaluator` added to `measured`."""
        self.sharding.release()
        means, metrics = self.term_means.compute(), self.measured[split]
        terms = dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True)) if means else {}
        for name in sorted(metrics.keys() & terms.keys()):
            raise AeframeError(
                f"metric '{name}' has the name of a term, so one of them would be lost; leave it out with "
                f"metrics.{name}=null"
            )
        self.measured[split] = {**terms, **metrics}
        if not self.trainer.sanity_checking:
            self.report(self.measured[split], split)
            self._results = evaluation_results(self.trainer)
        add_callback_metrics(self.trainer, {f"{split}/{name}": value for name, value in self.measured[split].items()})

    def _return_results(self, split: str) -> None:
        for result in self._results:
            result |= {f"{split}/{name}": value for name, value in self.measured[split].items()}
        self._results = []

    # -- logging -------------------------------------------------------------------------------------------------

    def report(self, numbers: Mapping[str, float], split: str) -> None:
        """Send the metrics of a split to every logger of the Trainer, with the batch as the step."""
        named = {f"{split}/{name}": value for name, value in numbers.items()}
        log_numbers(self.trainer, named, epoch=self.progress.epoch, step=self.progress.batch)

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the progress, the batch of the last validation, accumulated gradients and buffered terms."""
        checkpoint["aeframe"] = {
            "progress": self.progress.state_dict(),
            "batches_per_epoch": self.batches_per_epoch,
            "seed": self.seed,
            "validated_at": self._validated_at,
            "groups": synchronized_states(self.groups, self.trainer.strategy),
            "buffered": self.metric_buffer.state_dict(),
            "term_gradient_norms": dict(self._term_gradient_norms),
        }
        give_own_storage(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the progress, and set Lightning's loop counters to it.

        Raises:
            AeframeError: A checkpoint of another module or of another model, or a sharded one without its shards.
        """
        stored = training_state(checkpoint)
        check_fits(self.state_dict(), checkpoint["state_dict"])
        self.restore_progress(stored["progress"])
        if self._trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            return
        self._restored, self._validated_at = stored, stored["validated_at"]
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        is_data_module = isinstance(data, DataModule)
        per_epoch = data.batches_per_epoch(self.trainer.world_size) if is_data_module else stored["batches_per_epoch"]
        place_loops(
            checkpoint,
            self.progress,
            batches_per_epoch=per_epoch,
            batches_per_call=data.batches_per_call() if is_data_module else 1,
            validated=self._validated_at == self.progress.batch,
        )

    def restore_groups(self) -> None:
        """Restore optimizer groups and buffered terms from the checkpoint that was loaded, if one was."""
        restored, self._restored = self._restored, None
        if restored is not None:
            for group in self.groups:
                group.load_state_dict(restored["groups"][group.name])
            self.metric_buffer.load_state_dict(restored["buffered"], self.device)
            self._term_gradient_norms = dict(restored["term_gradient_norms"])

    def restore_progress(self, stored: dict[str, int]) -> None:
        """Restore the progress of a checkpoint, including the planned length of the run."""
        self.progress.load_state_dict(stored)
        self.progress.planned, self.progress.rows = stored["planned"], stored["rows"]

    def teardown(self, stage: str) -> None:
        """Restore ordinary parameters, and the settings of the Trainer that `configure_callbacks` unset."""
        self.sharding.end()
        if self._trainer_settings is not None:
            self.trainer.gradient_clip_val, _, self.trainer.accumulate_grad_batches = self._trainer_settings
