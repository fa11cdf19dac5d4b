"""`ReportToTrial`: a Lightning callback that reports the validation curve to Optuna and ends pruned runs."""

from __future__ import annotations

import math

import lightning.pytorch as L
import optuna
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn


class ReportToTrial(Callback):
    """Report the monitored metric after each validation; if the trial is pruned, end the run.

    The run ends at the beginning of the next epoch, when ``last.ckpt`` has been written, so that it could be resumed.
    A run that has no further epoch is not pruned. Step n of the trial is the n-th validation.

    Args:
        trial: The trial of a study. Its pruner decides by the values of all trials of the study at the same step.
        monitor: The metric, such as ``val/bound``.

    Raises:
        optuna.TrialPruned: The trial is pruned.
    """

    # Allows the data module to pass several batches to one call of `training_step`.
    works_in_groups = True

    def __init__(self, trial: optuna.Trial, monitor: str) -> None:
        self.trial, self.monitor = trial, monitor
        self.num_validations = 0
        self._is_pruned = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the monitored metric."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        self.num_validations += 1
        value = float(trainer.callback_metrics[self.monitor])
        if math.isfinite(value):
            self.trial.report(value, self.num_validations)
            self._is_pruned = self.trial.should_prune()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End the run if its trial is pruned."""
        if self._is_pruned:
            raise optuna.TrialPruned(f"pruned after {self.num_validations} validations")
