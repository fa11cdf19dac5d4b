"""`ProgressLine`: a progress bar in one line, shown on a terminal only."""

from __future__ import annotations

import sys
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from aeframe.training.module import AutoencoderModule


class ProgressLine(Callback):
    """Show epoch, batches, time, the last training loss and the last validation bound (the metric ``val/bound``).

    The loss is one that `MetricBuffer` has already copied to the host, so showing it does not wait for the device.
    """

    # Allows the data module to pass several batches to one call of `training_step`.
    works_in_groups = True

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    @staticmethod
    def wanted(setting: bool | None) -> bool:
        """Return the setting; if it is None, whether standard error is a terminal."""
        return sys.stderr.isatty() if setting is None else setting

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the line, on the first process only."""
        if not trainer.is_global_zero or not isinstance(pl_module, AutoencoderModule):
            return
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=self.console,
            refresh_per_second=4,
        )
        progress = pl_module.progress
        self._task = self._progress.add_task(
            "training", total=None, completed=progress.batch, epoch=progress.epoch, metrics=""
        )
        self._progress.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the line."""
        if self._progress is None or self._task is None or not isinstance(pl_module, AutoencoderModule):
            return
        metrics = []
        if "loss" in pl_module.metric_buffer.latest:
            metrics.append(f"loss {pl_module.metric_buffer.latest['loss']:.4g}")
        if (bound := trainer.callback_metrics.get("val/bound")) is not None:
            metrics.append(f"val bound {float(bound):.4g}")
        self._progress.update(
            self._task,
            total=_total(trainer, pl_module),
            completed=pl_module.progress.batch,
            epoch=pl_module.progress.epoch,
            metrics="  ".join(metrics),
        )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the line, which releases the terminal."""
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """See `on_train_end`."""
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _total(trainer: L.Trainer, module: AutoencoderModule) -> int | None:
    """Return the number of batches of the run, or None if there is no limit."""
    epochs = trainer.max_epochs
    total = None if epochs is None or epochs < 0 else int(epochs * module.batches_per_epoch)
    return module.max_batches if total is None else min(total, module.max_batches or total)
