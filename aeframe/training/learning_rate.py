"""Learning rates: a `Schedule` of the training progress as torch's `LRScheduler`."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from aeframe.parts.schedules import Schedule
from aeframe.types import TrainingProgress


class ScheduledLR(LRScheduler):
    """Keep the learning rate of all parameter groups at a schedule, a function of the training progress.

    ``step`` sets the rate for the current batch of the progress, however often it is called. It has no state of its
    own: the progress is stored by the module.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, progress: TrainingProgress) -> None:
        self._schedule, self._progress = schedule, progress
        super().__init__(optimizer)

    def step(self, epoch: int | None = None) -> None:
        """Set the current rate; torch's version counts calls instead, and warns of a call before the first step."""
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def get_lr(self) -> list[float | Any]:
        """Return the rate of each parameter group."""
        # Before training the length of the run is unknown: schedules are at their start.
        begun = self._progress.planned or self._progress.batch
        progress = self._progress if begun else TrainingProgress(planned=1)
        return [self._schedule(progress)] * len(self.optimizer.param_groups)

    def state_dict(self) -> dict[str, Any]:
        """Return the last rates, for callbacks that show them."""
        return {"last_lr": list(self._last_lr)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the last rates."""
        self._last_lr = list(state["last_lr"])
