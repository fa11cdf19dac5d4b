"""Stop a run whose monitored number does not improve: Lightning's callback, with a patience that resume can change."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import EarlyStopping


class RunEarlyStopping(EarlyStopping):
    """Lightning's `EarlyStopping`, checked once an epoch; the patience of this run wins over that of a checkpoint."""

    def __init__(self, monitor: str, *, patience: int, mode: str) -> None:
        super().__init__(monitor, patience=patience, mode=mode, check_on_train_epoch_end=True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the best number and the epochs since."""
        super().load_state_dict({**state_dict, "patience": self.patience})
