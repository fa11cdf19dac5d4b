"""`TrainingProgress`: how many batches and epochs a run has trained."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class TrainingProgress:
    """Counts of batches and epochs. Schedules, batch order and noise are functions of these counts alone."""

    batch: int = 0
    """Training batches so far."""
    epoch: int = 0
    """Completed epochs."""
    batch_in_epoch: int = 0
    """Training batches so far in the present epoch."""
    planned: int = 0
    """Training batches of the whole planned run; 0 while unknown."""
    rows: int = 0
    """Training samples of an epoch, over all devices; 0 while unknown."""

    @property
    def fraction(self) -> float:
        """The completed fraction of the planned run, in [0, 1]; 0 while the plan is unknown."""
        return min(1.0, self.batch / self.planned) if self.planned else 0.0

    def advance(self) -> None:
        """Count one training batch."""
        self.batch += 1
        self.batch_in_epoch += 1

    def state_dict(self) -> dict[str, int]:
        """Return all counts, for a checkpoint."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Set the counts of batches and epochs. `planned` and `rows` keep the values of the present run."""
        self.batch, self.epoch, self.batch_in_epoch = state["batch"], state["epoch"], state["batch_in_epoch"]
