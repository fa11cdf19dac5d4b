"""`ValidationTime`: the callback that counts the time of validation for a phase of its own."""

from __future__ import annotations

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from aeframe.phases import current

VALIDATION = "validation"


class ValidationTime(Callback):
    """Counts the time of validation apart from that of training, where phases are measured."""

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin the phase."""
        if (phases := current()) is not None:
            phases.begin(VALIDATION)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End the phase."""
        if (phases := current()) is not None:
            phases.end(VALIDATION)
