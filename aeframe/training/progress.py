"""The progress bar: one line that a person can read, drawn on a terminal only."""

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
    """Show epoch, batches, time, the last training loss and the last validation bound.

    It reads what the logging gate has brought to the host already, so that it costs the step nothing.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    @staticmethod
    def wanted(setting: bool | None) -> bool:
        """Say whether to show a bar: as set, or when standard error is a terminal."""
        return sys.stderr.isatty() if setting is None else setting

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin, on the first process only."""
        if not trainer.is_global_zero or not isinstance(pl_module, AutoencoderModule):
            return
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self.console,
            refresh_per_second=4,
        )
        clock = pl_module.clock
        self._task = self._progress.add_task(
            "training", total=clock.planned or None, completed=clock.batch, epoch=clock.epoch, numbers=""
        )
        self._progress.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on."""
        if self._progress is None or self._task is None or not isinstance(pl_module, AutoencoderModule):
            return
        numbers = []
        if "loss" in pl_module.gate.latest:
            numbers.append(f"loss {pl_module.gate.latest['loss']:.4g}")
        if (bound := trainer.callback_metrics.get("val/bound")) is not None:
            numbers.append(f"val bound {float(bound):.4g}")
        self._progress.update(
            self._task,
            completed=pl_module.clock.batch,
            epoch=pl_module.clock.epoch,
            numbers="  ".join(numbers),
        )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the line as it stands."""
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
