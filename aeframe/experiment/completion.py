"""Whether the training of a run is complete, and what a complete run returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aeframe.experiment.data_sized import stored_choices
from aeframe.experiment.finished_run import Run
from aeframe.experiment.objects import RunObjects
from aeframe.model_store.reader import load, own_kinds
from aeframe.runs.folder import RunFolder
from aeframe.runs.newest import NewestCheckpoint, newest_checkpoint

_LIMITS = ("max_epochs", "max_batches", "max_hours", "patience")
"""Settings that end training."""


def reached_limit(newest: NewestCheckpoint, config: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint is at the last epoch or batch that a config plans."""
    progress = newest.progress
    # A checkpoint after the last batch may have been written before the last validation.
    is_validated = newest.stopped or progress["batch_in_epoch"] == 0
    return progress["epoch"] >= config["max_epochs"] or (
        config["max_batches"] is not None and progress["batch"] >= config["max_batches"] and is_validated
    )


def is_trained(newest: NewestCheckpoint, config: Mapping[str, Any]) -> bool:
    """Return whether training is complete: at a limit of the config, or stopped early by the same limits."""
    # The config in the checkpoint is compared, not the file: the first process rewrites that while others read it.
    previous = newest.checkpoint.get("hyper_parameters", {})
    limits_changed = any(previous.get(name) != config[name] for name in _LIMITS)
    return reached_limit(newest, config) or (newest.stopped and not limits_changed)


def is_complete(folder: RunFolder, config: Mapping[str, Any]) -> bool:
    """Return whether the run in a folder is trained as far as the config plans, tested and saved."""
    if folder.read_state().get("status") != "finished" or not folder.model.is_dir():
        return False
    newest = newest_checkpoint(folder)
    # The checkpoints of a finished run may have been deleted.
    return newest is None or is_trained(newest, {**config, **stored_choices(config, folder.read_config)})


def finished_run(folder: RunFolder, objects: RunObjects) -> tuple[Run, str]:
    """Return the result of a complete run, as its training returned it, and the sentence for its command.

    The model is on the CPU.

    Raises:
        AeframeError: A file of the run is missing or damaged.
    """
    newest = newest_checkpoint(folder)
    best = float("nan") if newest is None else newest.best_value
    own = {kind: module for kind, module in objects.modules.items() if kind in own_kinds(folder.path)}
    metrics = folder.read_metrics()["test"]
    batches = "" if newest is None else f" after {newest.progress['batch']} batches"
    sentence = f"run '{folder.path}' is complete{batches}, so nothing was trained; resume=false begins another"
    return Run(folder.path, metrics, best, load(folder.path, **own)), sentence


def start_message(newest: NewestCheckpoint | None, *, trained: bool) -> str:
    """Return what a run does first, for its banner.

    Args:
        newest: The checkpoint that it continues at; None for a run that begins.
        trained: Whether its training is complete.
    """
    if newest is None:
        return "begins"
    progress = newest.progress
    if trained:
        return f"finishes: trained for {progress['batch']} batches, not saved yet"
    return f"resumes in epoch {progress['epoch'] + 1}, after batch {progress['batch']}"
