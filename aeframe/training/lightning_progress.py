"""Set and read Lightning's own counters: the only file that uses private names of its loops.

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
    """Rewrite the loop counters of a checkpoint, so that Lightning resumes at `progress`.

    A checkpoint may be written in any hook, while some counters are advanced and others are not, and by a run with
    other groups of batches. The counters are therefore set to one of three states: between two epochs, within an epoch,
    or after the last batch of an epoch.

    Args:
        checkpoint: As Lightning saves it; changed in place.
        progress: The training progress of the checkpoint.
        batches_per_epoch: Batches of an epoch, on each device.
        batches_per_call: Batches that one call of `training_step` receives.
        validated: Whether the validation at this batch is done.
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
    # Lightning runs a validation that was stopped in its first batch again, but not a finished one. Within an epoch it
    # decides by its count of calls whether a validation was due.
    pending = not validated and (finished or (batch > 0 and batches_per_call == 1))
    val = {"ready": 1, "started": 1, "processed": 0, "completed": 0} if pending else _counts(0)
    fit["epoch_loop.val_loop.batch_progress"] = {"total": dict(val), "current": dict(val), "is_last_batch": False}
    state = fit["state_dict"]
    if "combined_loader" in state:
        state["combined_loader"] = [{"epoch": epoch, "batch": batch}]


def count_batches(trainer: L.Trainer, batch: int) -> None:
    """Set the step number for Lightning's logging, after a call with several batches."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = batch - 1


def steps_directly(trainer: L.Trainer) -> bool:
    """Return whether a step may call torch directly: one device, no scaler, no overridden hook of the backward pass.

    Lightning's wrappers around ``backward`` and ``step`` would only call hooks that do nothing, at a cost of a tenth of
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
    """Step the wrapped optimizer, and count the step as Lightning's wrapper does."""
    optimizer._on_before_step()
    optimizer.optimizer.step()
    optimizer._on_after_step()


def is_forward_only(trainer: L.Trainer) -> bool:
    """Return whether this epoch has no backward passes (`StochasticWeightAveraging` updates batch normalization)."""
    return trainer.fit_loop._skip_backward


def log_numbers(trainer: L.Trainer, numbers: Mapping[str, float], *, epoch: int, step: int) -> None:
    """Send numbers to every logger at `step`, and add them to `trainer.logged_metrics`, as `self.log` does."""
    found = {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
    trainer._logger_connector._logged_metrics.update(found)
    for logger in trainer.loggers:
        logger.log_metrics({**numbers, "epoch": epoch}, step=step)
        logger.save()


def set_batch_size(trainer: L.Trainer, size: int) -> None:
    """Set the batch size for `self.log` in a subclass; Lightning would infer it from a `Batch` with a warning."""
    if trainer._results is not None:
        trainer._results.batch_size = size


def evaluation_results(trainer: L.Trainer) -> list[dict[str, Any]]:
    """Return the dictionaries, one per loader, that `trainer.validate` or `trainer.test` returns afterwards.

    Lightning logs their content at the end of the epoch, and prints them after ``on_validation_end``.
    """
    return trainer._evaluation_loop._logged_outputs


def _counts(number: int) -> dict[str, int]:
    return {"ready": number, "started": number, "processed": number, "completed": number}
