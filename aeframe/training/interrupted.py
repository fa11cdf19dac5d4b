"""A run that a queue ends leaves a checkpoint from which it goes on."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException


class SaveOnTermination(Callback):
    """Write ``last.ckpt`` when the run is ended by SIGTERM, which Lightning takes between two calls of the step.

    No other exception leaves one: after a loss that is not finite, or within a step, nothing is worth going on from.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Write it."""
        if isinstance(exception, SIGTERMException):
            trainer.save_checkpoint(self.path)
