"""Set and read Lightning's counters of batches and steps. Only this file uses private names of Lightning's loops.

Written for Lightning 2.6; ``tests/training/test_lightning_progress.py`` fails with another minor version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.optim import Optimizer

from aeframe.types import Batch, TrainingProgress

LIGHTNING = "2.6"
"""The minor version of Lightning that this file is written for."""


def place_loops(
    checkpoint: dict[str, Any],
    progress: TrainingProgress,
    *,
    batches_per_epoch: int,
    batches_per_call: int,
    validated: bool,
) -> None:
    """Rewrite the loop counters of a checkpoint, so that Lightning resumes at `progress`.

    A checkpoint may be written in any hook, when some counters are advanced and others are not yet. The resumed run may
    also group batches differently. The counters are therefore set to one of three states: between two epochs, within an
    epoch, or after the last batch of an epoch.

    Args:
        checkpoint: A checkpoint of Lightning; changed in place.
        progress: The training progress of the checkpoint.
        batches_per_epoch: Batches of an epoch on each device.
        batches_per_call: Batches that one call of `training_step` receives.
        validated: Whether the validation at the batch of `progress` is complete.
    """
    if "loops" not in checkpoint:
        return
    fit = checkpoint["loops"]["fit_loop"]
    epoch, batch = progress.epoch, progress.batch_in_epoch
    finished = batch >= batches_per_epoch
    # Rounded up: the last call of an epoch may receive fewer batches.
    calls_per_epoch = -(-batches_per_epoch // batches_per_call)
    calls = calls_per_epoch if finished else batch // batches_per_call
    started = epoch + 1 if batch else epoch
    epochs = {"ready": started, "started": started, "processed": epoch, "completed": epoch}
    fit["epoch_progress"] = {"total": dict(epochs), "current": dict(epochs)}
    fit["epoch_loop.batch_progress"] = {
        "total": _counts(epoch * calls_per_epoch + calls),
        "current": _counts(calls),
        "is_last_batch": finished,
    }
    # Lightning adds 1 when it resumes within an epoch.
    fit["epoch_loop.state_dict"] = {"_batches_that_stepped": progress.batch - 1 if batch else progress.batch}
    # A validation whose first batch is started but not completed is run again by Lightning; a completed one is not.
    # Within an epoch, Lightning derives from its count of calls whether a validation was due.
    pending = not validated and (finished or (batch > 0 and batches_per_call == 1))
    val = {"ready": 1, "started": 1, "processed": 0, "completed": 0} if pending else _counts(0)
    fit["epoch_loop.val_loop.batch_progress"] = {"total": dict(val), "current": dict(val), "is_last_batch": False}
    state = fit["state_dict"]
    if "combined_loader" in state:
        state["combined_loader"] = [{"epoch": epoch, "batch": batch}]


def count_batches(trainer: L.Trainer, batch: int) -> None:
    """Set the step of Lightning's logging, which counts calls of `training_step`, to the number of batches."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = batch - 1


def steps_directly(trainer: L.Trainer) -> bool:
    """Return whether ``backward`` and ``step`` of torch may be called without Lightning's wrappers.

    That is so on one device, without a gradient scaler, and if no hook of the backward pass is overridden. The wrappers
    would then only call empty hooks, which takes a tenth of a millisecond for each step.
    """
    hooks = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")
    module = trainer.lightning_module
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and getattr(trainer.precision_plugin, "scaler", None) is None
        and not any(is_overridden(hook, callback) for callback in trainer.callbacks for hook in hooks)  # type: ignore[attr-defined]
        and not any(is_overridden(hook, module) for hook in (*hooks[:2], "backward"))
    )


def call_batch_end(module: L.LightningModule, loss: Tensor | None, batch: Batch, index: int) -> None:
    """Call `on_train_batch_end` of callbacks that allow lists of batches; Lightning does so after the last one only."""
    for callback in module.trainer.callbacks:  # type: ignore[attr-defined]
        if getattr(callback, "works_in_groups", False):
            callback.on_train_batch_end(module.trainer, module, loss, batch, index)


def call_before_zero_grad(module: L.LightningModule, optimizer: Optimizer) -> None:
    """Call `on_before_zero_grad` of callbacks and module; Lightning does so in automatic optimization only."""
    for callback in module.trainer.callbacks:  # type: ignore[attr-defined]
        callback.on_before_zero_grad(module.trainer, module, optimizer)
    module.on_before_zero_grad(optimizer)


def step_directly(optimizer: LightningOptimizer) -> None:
    """Step the wrapped optimizer, and count the step as Lightning's wrapper does."""
    optimizer._on_before_step()
    optimizer.optimizer.step()
    optimizer._on_after_step()


def count_step(optimizer: LightningOptimizer) -> None:
    """Count a step of the wrapped optimizer that was taken outside of Lightning's wrapper."""
    optimizer._on_before_step()
    optimizer._on_after_step()


def is_forward_only(trainer: L.Trainer) -> bool:
    """Return whether this epoch has no backward passes, as when `StochasticWeightAveraging` updates batch norm."""
    return trainer.fit_loop._skip_backward


def log_numbers(trainer: L.Trainer, numbers: Mapping[str, float], *, epoch: int, step: int) -> None:
    """Send metrics to every logger at `step`, and add them to `trainer.logged_metrics`, as `self.log` does."""
    if not numbers:
        return
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
    trainer._logger_connector._logged_metrics.update(tensors)
    for logger in trainer.loggers:
        logger.log_metrics({**numbers, "epoch": epoch}, step=step)
        logger.save()


def add_callback_metrics(trainer: L.Trainer, numbers: Mapping[str, float]) -> None:
    """Add metrics to `trainer.callback_metrics`, in the default type, as ``self.log(..., logger=False)`` does.

    The metrics are means of an epoch that are equal on all devices, so nothing is left for Lightning to accumulate or
    to reduce. `self.log` creates a metric object for each number, which costs more than validating a small split.
    """
    values = torch.tensor(list(numbers.values()), dtype=torch.get_default_dtype(), device=trainer.strategy.root_device)
    trainer.callback_metrics.update(zip(numbers, values.unbind(), strict=True))


def set_batch_size(trainer: L.Trainer, size: int) -> None:
    """Set the batch size for `self.log` in a subclass; Lightning would infer it from a `Batch` with a warning."""
    if trainer._results is not None:
        trainer._results.batch_size = size


def evaluation_results(trainer: L.Trainer) -> list[dict[str, Any]]:
    """Return the dictionaries, one per loader, that `trainer.validate` or `trainer.test` will return.

    Lightning fills them at the end of the epoch, and prints them after ``on_validation_end``.
    """
    return trainer._evaluation_loop._logged_outputs


def _counts(number: int) -> dict[str, int]:
    """Return a counter of Lightning after `number` complete calls."""
    return {"ready": number, "started": number, "processed": number, "completed": number}
