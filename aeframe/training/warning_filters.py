"""Filter warnings and log lines of Lightning that do not apply to aeframe's loaders and run folders."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_NOT_APPLICABLE = (
    # Data in memory need no workers.
    "The '.*_dataloader' does not have many workers",
    "GPU available but not used",
    # The means of an epoch are logged however short it is.
    "The number of training batches .* is smaller than the logging interval",
    # The checkpoint folder of a resumed run is not empty, which is right.
    "Checkpoint directory .* exists and is not empty",
    # A run on a login node of a cluster is one process intentionally.
    "The `srun` command is available on your system but is not used",
    # A checkpoint after a step has the weights after that step, as in automatic optimization.
    "Using ModelCheckpoint with manual optimization and every_n_train_steps",
    # Frozen parts are in evaluation mode intentionally.
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # DDP of a convolution of size 1: the strides of dimensions of size 1 have no meaning, and the copy is small.
    "Grad strides do not match bucket view strides",
    # The hook `configure_model` of `AutoencoderModule` shards nothing but with fsdp2.
    "You're using the WeightAveraging callback with a model that overrides the configure_model callback",
    # Lightning 2.6 with torch 2.13.
    r".*isinstance\(treespec, LeafSpec\)",
)
_LOGGERS = ("lightning.pytorch", "lightning.fabric")


def ignore_inapplicable_warnings() -> None:
    """Add filters for these warnings; a surrounding `warnings.catch_warnings` removes them at its end."""
    for message in _NOT_APPLICABLE:
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def quiet_lightning(level: int = logging.WARNING) -> Iterator[None]:
    """Hide Lightning's log lines below `level`, and inapplicable warnings, inside; restore levels and filters."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            ignore_inapplicable_warnings()
            yield
    finally:
        for logger, previous in zip(loggers, levels, strict=True):
            logger.setLevel(previous)
