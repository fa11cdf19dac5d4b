"""The callback that writes a run's checkpoints: every epoch, at an interval, at a new best, and after a signal."""

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
from aeframe.training.averaging import WeightAverage
from aeframe.training.checkpoint import publish_copy
from aeframe.training.module import AutoencoderModule


class RunCheckpoints(Checkpoint):
    """Write ``last.ckpt`` and ``best.ckpt``, also when a signal ends the run.

    ``last.ckpt`` is the newest state, written at the end of every epoch and at every interval. Its content names no
    path, so that a run folder can be moved.

    Args:
        folder: The folder of the two files.
        monitor: The metric of the validation split that decides which checkpoint is best.
        mode: ``min`` or ``max``: which value is best.
        every_batches: Also write ``last.ckpt`` after this many batches.
        every_seconds: Also write ``last.ckpt`` after this time.
        signals: The guard that receives signals; None to ignore them.
        written_rows: Returns the number of rows in each growing file of the run, to be stored in the checkpoint.
    """

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
        self.last, self.best = folder / "last.ckpt", folder / "best.ckpt"
        self.monitor, self.mode = monitor, mode
        self.every_batches, self.every_seconds = every_batches, every_seconds
        self.best_value: float | None = None
        """The monitored number of ``best.ckpt``; None while there is none."""
        self.best_batch = 0
        self.written_batch: int | None = None
        """Batches trained on at the newest checkpoint of this process."""
        self._signals = signals
        self._written_rows = written_rows
        self._improved = False
        self._stopped = False
        self._batch = 0
        self._written_at = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Install our signal handlers again: Lightning's wait for other devices inside the handler."""
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
        number = self._signal(trainer)
        if number is not None:
            self._leave(trainer, pl_module, number)
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
        number = self._signal(trainer)
        if number is None:
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, WeightAverage):
                callback.restore_weights(pl_module)
            elif isinstance(callback, WeightAveraging):
                # The module holds averaged weights that this callback cannot restore now: finish the validation.
                return
        self._leave(trainer, pl_module, number)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare the monitored metric; within an epoch, write ``best.ckpt`` at once."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        self._improved = self._compare(trainer, _module(pl_module).progress.batch)
        module = _module(pl_module)
        ends_here = module.progress.batch_in_epoch >= module.batches_per_epoch or trainer.should_stop
        if self._improved and not ends_here:
            self._save(trainer, pl_module, self.best)
            self._improved = False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write ``last.ckpt``; for a new best, ``best.ckpt`` first.

        A run that is killed between the two then repeats the epoch and its comparison.
        """
        self._stopped = bool(trainer.should_stop)
        if self._improved:
            self._save(trainer, pl_module, self.best)
            if trainer.is_global_zero:
                publish_copy(self.best, self.last)
            trainer.strategy.barrier("last.ckpt")
            self._improved = False
        else:
            self._save(trainer, pl_module, self.last)
        number = self._signal(trainer)
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
        before, self._batch = self._batch, batch
        if self.every_batches is not None and batch // self.every_batches > before // self.every_batches:
            return True
        if self.every_seconds is None:
            return False
        # The first device's clock decides for all.
        late = time.monotonic() - self._written_at >= self.every_seconds
        return bool(trainer.strategy.broadcast(late)) if trainer.world_size > 1 else late

    def _compare(self, trainer: L.Trainer, batch: int) -> bool:
        found = trainer.callback_metrics
        if self.monitor not in found:
            own = [name.removeprefix("val/") for name in found if name.startswith("val/")]
            name = self.monitor.removeprefix("val/")
            raise AeframeError(
                f"monitor '{name}' is not measured on the validation split{did_you_mean(name, own)}; "
                f"choose one of {', '.join(sorted(own))}"
            )
        value = float(found[self.monitor])
        if not math.isfinite(value):
            return False
        best = self.best_value
        if best is not None and not (value < best if self.mode == "min" else value > best):
            return False
        self.best_value, self.best_batch = value, batch
        return True

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule, path: Path) -> None:
        _module(pl_module).check_finite_weights()
        if trainer.is_global_zero and not path.parent.is_dir():
            # Lightning would create it again, without the config of the run.
            raise AeframeError(
                f"checkpoint '{path}' cannot be written: its folder was removed; restore it, then "
                f"resume={path.parent.parent}"
            )
        trainer.save_checkpoint(path, weights_only=False)
        self._written_at = time.monotonic()
        self._batch = self.written_batch = _module(pl_module).progress.batch

    def _signal(self, trainer: L.Trainer) -> int | None:
        """Return the number of the signal that any device received, None without one."""
        if self._signals is None:
            return None
        number = self._signals.received or 0
        if trainer.world_size > 1:
            found = torch.tensor(number, device=trainer.strategy.root_device)
            number = int(trainer.strategy.reduce(found, reduce_op="max"))
        return number or None

    def _leave(self, trainer: L.Trainer, pl_module: L.LightningModule, number: int) -> None:
        self._save(trainer, pl_module, self.last)
        raise Interrupted(number)


def _module(module: L.LightningModule) -> AutoencoderModule:
    if not isinstance(module, AutoencoderModule):
        raise AeframeError(
            f"RunCheckpoints needs an AutoencoderModule, found {type(module).__name__}; use Lightning's ModelCheckpoint"
        )
    return module
