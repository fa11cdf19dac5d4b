"""Lightning's own counters: every private name of its loops that aeframe uses stands in this file.

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

from aeframe.types import TrainingProgress

LIGHTNING = "2.6"


def place_loops(
    checkpoint: dict[str, Any],
    progress: TrainingProgress,
    *,
    batches_per_epoch: int,
    batches_per_call: int,
    validated: bool,
) -> None:
    """Rewrite the loop counters of a checkpoint, so that Lightning resumes exactly where `progress` stands.

    A checkpoint can be written at any hook, with other counters half advanced at each, and in a run that grouped
    batches otherwise. Three states remain: between epochs, inside one, and after its last batch, where `validated`
    tells whether its validation is over or is still to come.
    """
    if "loops" not in checkpoint:
        return
    fit = checkpoint["loops"]["fit_loop"]
    epoch, batch = progress.epoch, progress.batch_in_epoch
    finished = batch >= batches_per_epoch
    calls_per_epoch = -(-batches_per_epoch // batches_per_call)
    calls = calls_per_epoch if finished else batch // batches_per_call
    begun = epoch + 1 if batch else epoch
    counted = {"ready": begun, "started": begun, "processed": epoch, "completed": epoch}
    fit["epoch_progress"] = {"total": dict(counted), "current": dict(counted)}
    fit["epoch_loop.batch_progress"] = {
        "total": _counts(epoch * calls_per_epoch + calls),
        "current": _counts(calls),
        "is_last_batch": finished,
    }
    # Lightning adds one more when it re-enters the epoch.
    fit["epoch_loop.state_dict"] = {"_batches_that_stepped": progress.batch - 1 if batch else progress.batch}
    # A validation that stopped in its first batch is run again from there, a finished one is not. Inside an epoch
    # Lightning asks whether one was due, by its count of calls.
    pending = not validated and (finished or (batch > 0 and batches_per_call == 1))
    val = {"ready": 1, "started": 1, "processed": 0, "completed": 0} if pending else _counts(0)
    fit["epoch_loop.val_loop.batch_progress"] = {"total": dict(val), "current": dict(val), "is_last_batch": False}
    state = fit["state_dict"]
    if "combined_loader" in state:
        state["combined_loader"] = [{"epoch": epoch, "batch": batch}]


def count_batches(trainer: L.Trainer, batch: int) -> None:
    """Set the step that Lightning logs by, after a call that took several batches."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = batch - 1


def steps_directly(trainer: L.Trainer) -> bool:
    """Return whether a step may call torch itself: one device, no scaler, no callback that follows the backward pass.

    Lightning's wrappers around ``backward`` and ``step`` call hooks that nothing overrides then; they take a tenth of
    a millisecond.
    """
    hooks = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")
    module = trainer.lightning_module
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and getattr(trainer.precision_plugin, "scaler", None) is None
        and not any(is_overridden(hook, callback) for callback in trainer.callbacks for hook in hooks)  # type: ignore[attr-defined]
        and not any(is_overridden(hook, module) for hook in (*hooks[:2], "backward"))
    )


def step_directly(optimizer: LightningOptimizer) -> None:
    """Step the optimizer itself, and count the step as Lightning's wrapper does."""
    optimizer._on_before_step()
    optimizer.optimizer.step()
    optimizer._on_after_step()


def is_forward_only(trainer: L.Trainer) -> bool:
    """Return whether an epoch only updates the statistics of batch normalization (`StochasticWeightAveraging`)."""
    return trainer.fit_loop._skip_backward


def log_numbers(trainer: L.Trainer, numbers: Mapping[str, float], *, epoch: int, step: int) -> None:
    """Send numbers to every logger at `step`, and add them to `trainer.logged_metrics`, as `self.log` does."""
    found = {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
    trainer._logger_connector._logged_metrics.update(found)
    for logger in trainer.loggers:
        logger.log_metrics({**numbers, "epoch": epoch}, step=step)
        logger.save()


def set_batch_size(trainer: L.Trainer, size: int) -> None:
    """Set the weight of a batch for `self.log` of a subclass; Lightning warns where it infers it from a `Batch`."""
    if trainer._results is not None:
        trainer._results.batch_size = size


def evaluation_results(trainer: L.Trainer) -> list[dict[str, Any]]:
    """Return the dictionaries, one a loader, that `trainer.validate` or `trainer.test` is going to return.

    Lightning sends what they hold at the end of the epoch to the loggers, and prints them after ``on_validation_end``.
    """
    return trainer._evaluation_loop._logged_outputs


def _counts(number: int) -> dict[str, int]:
    return {"ready": number, "started": number, "processed": number, "completed": number}
