"""`ScheduledLR`: a `Schedule` of the training progress as an `LRScheduler` of torch; `step_schedulers` steps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from aeframe.parts.schedules import Schedule
from aeframe.types import TrainingProgress

if TYPE_CHECKING:
    import lightning.pytorch as L


class ScheduledLR(LRScheduler):
    """Set the learning rate of each parameter group to the value of a schedule, a function of the training progress,
    times a factor of the group.

    ``step`` sets the rate of the current batch, however often it is called. The scheduler has no state of its own: the
    module stores the progress.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        progress: TrainingProgress,
        factors: Sequence[float] | None = None,
    ) -> None:
        self._schedule, self._progress = schedule, progress
        self._factors = [1.0] * len(optimizer.param_groups) if factors is None else factors
        super().__init__(optimizer)

    def step(self, epoch: int | None = None) -> None:
        """Set the rate of the current batch; torch's own `step` counts its calls instead."""
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def get_lr(self) -> list[float | Any]:
        """Return the rate of each parameter group."""
        # Before training the length of the run is unknown: the rate is then that at the start of the schedule.
        has_started = self._progress.planned or self._progress.batch
        progress = self._progress if has_started else TrainingProgress(planned=1)
        rate = self._schedule(progress)
        return [factor * rate for factor in self._factors]

    def state_dict(self) -> dict[str, Any]:
        """Return the current rates, for callbacks that read them."""
        return {"last_lr": list(self._last_lr)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the current rates."""
        self._last_lr = list(state["last_lr"])


def step_schedulers(trainer: L.Trainer, interval: str) -> None:
    """Step the schedulers of an interval, ``step`` or ``epoch``; Lightning does so in automatic optimization only.

    The schedulers may be those of a callback: stochastic weight averaging replaces them.
    """
    for config in trainer.lr_scheduler_configs:
        if config.interval == interval and isinstance(config.scheduler, LRScheduler):
            config.scheduler.step()
