"""`TrainingTimeLimit`: the end of training after a number of hours."""

from __future__ import annotations

from datetime import timedelta

from lightning.pytorch.callbacks import Timer


class TrainingTimeLimit(Timer):
    """Lightning's `Timer`, which stops training after the call of `training_step` in which the time is used up.

    Checkpoints store the time, so that a resumed run has the rest of it.

    Args:
        hours: Hours of training and of the validations in between.
    """

    # Allows the data module to pass several batches to one call of `training_step`.
    works_in_groups = True

    def __init__(self, hours: float) -> None:
        super().__init__(timedelta(hours=hours), verbose=False)
