"""`RunEarlyStopping`: early stopping with a patience that a resumed run can change."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import EarlyStopping


class RunEarlyStopping(EarlyStopping):
    """Lightning's `EarlyStopping`, checked at the end of each epoch.

    Loading a checkpoint keeps the patience that the constructor got.
    """

    def __init__(self, monitor: str, *, patience: int, mode: str) -> None:
        super().__init__(monitor, patience=patience, mode=mode, check_on_train_epoch_end=True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best value and the number of epochs since then, but not the patience."""
        super().load_state_dict({**state_dict, "patience": self.patience})
