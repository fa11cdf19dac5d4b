"""`TrainingProgress`: how far a run is, in batches."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class TrainingProgress:
    """Where a run stands, in batches: the one time that schedules, samplers and noise are functions of."""

    batch: int = 0
    """Batches trained on since the run began."""
    epoch: int = 0
    batch_in_epoch: int = 0
    planned: int = 0
    """Batches the run will have when it ends as planned; 0 while unknown."""
    rows: int = 0
    """Training samples there are, over all devices; 0 while unknown."""

    @property
    def fraction(self) -> float:
        """The fraction of the planned run that is over, in [0, 1]."""
        return min(1.0, self.batch / self.planned) if self.planned else 0.0

    def advance(self) -> None:
        """Count one batch."""
        self.batch += 1
        self.batch_in_epoch += 1

    def state_dict(self) -> dict[str, int]:
        """Return the clock as plain numbers."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Set the clock; the planned length and the number of samples stay those of the present run."""
        self.batch, self.epoch, self.batch_in_epoch = state["batch"], state["epoch"], state["batch_in_epoch"]
