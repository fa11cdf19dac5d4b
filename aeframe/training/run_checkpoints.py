"""`RunCheckpoints`: write checkpoints every epoch, at an interval, for a new best metric, and after a signal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn

from aeframe.errors import AeframeError, did_you_mean
from aeframe.interruption import Interrupted, SignalGuard
from aeframe.phases import phase
from aeframe.training.averaging import WeightAverage
from aeframe.training.checkpoint import publish_copy
from aeframe.training.checkpoint_files import BEST, LAST
from aeframe.training.metric_buffer import check_finite_weights
from aeframe.training.module import AutoencoderModule


class RunCheckpoints(Checkpoint):
    """Write ``last.ckpt`` and ``best.ckpt``; after a signal, write ``last.ckpt`` and end the run.

    ``last.ckpt`` is the newest state, written at the end of every epoch and at every interval. Checkpoints contain no
    path, so that a run folder can be moved.

    Args:
        folder: The folder of ``last.ckpt`` and ``best.ckpt``.
        monitor: The metric of the validation split that decides which checkpoint is best.
        mode: ``min`` or ``max``: whether the lowest or the highest value is best.
        every_batches: Interval in batches at which ``last.ckpt`` is also written.
        every_seconds: Interval in seconds at which ``last.ckpt`` is also written.
        signals: The guard that receives signals; None to ignore them.
        written_rows: A function that returns the number of rows of each file that the run appends to. Checkpoints store
            it, so that a resumed run can remove later rows.
    """

    # Allows the data module to pass several batches to one call of `training_step`.
    works_in_groups = True

    def __init__(
        self,
        folder: Path,
        *,
        monitor: str = "val/bound",
        mode: str = "min",
        every_batches: int | None = None,
        every_seconds: float | None = None,
        signals: SignalGuard | None = None,
        written_rows: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self.last, self.best = folder / LAST, folder / BEST
        self.monitor, self.mode = monitor, mode
        self.every_batches, self.every_seconds = every_batches, every_seconds
        self.best_value: float | None = None
        """The monitored metric of ``best.ckpt``; None if there is none yet."""
        self.best_batch = 0
        """The number of training batches at ``best.ckpt``."""
        self.written_batch: int | None = None
        """The number of training batches at the newest checkpoint of this process."""
        self._signals = signals
        self._written_rows = written_rows
        self._improved = False
        self._stopped = False
        self._batch = 0
        self._written_at = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace Lightning's signal handlers, which wait for other devices, by those of `SignalGuard`."""
        self._written_at = time.monotonic()
        self._batch = _module(pl_module).progress.batch
        if trainer.is_global_zero:
            self.last.parent.mkdir(parents=True, exist_ok=True)
        if self._signals is not None:
            self._signals.install()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """See `on_train_start`."""
        if self._signals is not None:
            self._signals.install()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write ``last.ckpt`` at the end of an interval, or after a signal."""
        number = self._received_signal(trainer)
        if number is not None:
            self._save_and_stop(trainer, pl_module, number)
        if self._is_due(trainer, _module(pl_module).progress.batch):
            self._save(trainer, pl_module, self.last)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End the run after a signal during validation; the resumed run repeats the validation."""
        number = self._received_signal(trainer)
        if number is None:
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, WeightAverage):
                callback.restore_weights(pl_module)
            elif isinstance(callback, WeightAveraging):
                # The module has averaged weights, which this callback swaps back only after the validation.
                return
        self._save_and_stop(trainer, pl_module, number)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare the monitored metric with the best. After a validation within an epoch, write ``best.ckpt`` now."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        module = _module(pl_module)
        self._improved = self._update_best(trainer, module.progress.batch)
        epoch_ends = module.progress.batch_in_epoch >= module.batches_per_epoch or trainer.should_stop
        if self._improved and not epoch_ends:
            self._save(trainer, pl_module, self.best)
            self._improved = False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write ``last.ckpt``. For a new best, ``best.ckpt`` is written first.

        If the run is killed between the two, the resumed run repeats the end of the epoch and the comparison.
        """
        self._stopped = bool(trainer.should_stop)
        if self._improved:
            self._save(trainer, pl_module, self.best)
            if trainer.is_global_zero:
                publish_copy(self.best, self.last)
            trainer.strategy.barrier(LAST)
            self._improved = False
        else:
            self._save(trainer, pl_module, self.last)
        number = self._received_signal(trainer)
        if number is not None:
            raise Interrupted(number)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, whether training was stopped early, and the number of written rows."""
        return {
            "best_value": self.best_value,
            "best_batch": self.best_batch,
            "stopped": self._stopped,
            "rows": dict(self._written_rows()),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best value so far."""
        self.best_value, self.best_batch = state_dict["best_value"], state_dict["best_batch"]

    def _is_due(self, trainer: L.Trainer, batch: int) -> bool:
        """Return whether an interval has ended since the previous batch or checkpoint."""
        previous, self._batch = self._batch, batch
        if self.every_batches is not None and batch // self.every_batches > previous // self.every_batches:
            return True
        if self.every_seconds is None:
            return False
        # All devices use the clock of the first one.
        due = time.monotonic() - self._written_at >= self.every_seconds
        return bool(trainer.strategy.broadcast(due)) if trainer.world_size > 1 else due

    def _update_best(self, trainer: L.Trainer, batch: int) -> bool:
        """Return whether the monitored metric improved; if so, store its value and the batch."""
        metrics = trainer.callback_metrics
        if self.monitor not in metrics:
            names = [name.removeprefix("val/") for name in metrics if name.startswith("val/")]
            name = self.monitor.removeprefix("val/")
            raise AeframeError(
                f"monitor '{name}' is not measured on the validation split{did_you_mean(name, names)}, as metrics of "
                f"the test only are not; choose one of {', '.join(sorted(names))}"
            )
        value = float(metrics[self.monitor])
        if not math.isfinite(value):
            return False
        best = self.best_value
        if best is not None and not (value < best if self.mode == "min" else value > best):
            return False
        self.best_value, self.best_batch = value, batch
        return True

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule, path: Path) -> None:
        module = _module(pl_module)
        check_finite_weights(module.model, module.progress)
        if trainer.is_global_zero and not path.parent.is_dir():
            # Lightning would create the folder again, but the config of the run would be missing.
            raise AeframeError(
                f"checkpoint '{path}' cannot be written: its folder was removed; restore it, then "
                f"resume={path.parent.parent}"
            )
        with phase("checkpoints"):
            trainer.save_checkpoint(path, weights_only=False)
        self._written_at = time.monotonic()
        self._batch = self.written_batch = _module(pl_module).progress.batch

    def _received_signal(self, trainer: L.Trainer) -> int | None:
        """Return the number of a signal that the process of any device received; None if there is none."""
        if self._signals is None:
            return None
        number = self._signals.received or 0
        if trainer.world_size > 1:
            on_device = torch.tensor(number, device=trainer.strategy.root_device)
            number = int(trainer.strategy.reduce(on_device, reduce_op="max"))
        return number or None

    def _save_and_stop(self, trainer: L.Trainer, pl_module: L.LightningModule, number: int) -> None:
        self._save(trainer, pl_module, self.last)
        raise Interrupted(number)


def _module(module: L.LightningModule) -> AutoencoderModule:
    if not isinstance(module, AutoencoderModule):
        raise AeframeError(
            f"RunCheckpoints needs an AutoencoderModule, found {type(module).__name__}; use Lightning's ModelCheckpoint"
        )
    return module
