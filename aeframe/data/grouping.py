"""How many training batches one call of `training_step` may take, with nobody seeing a difference."""

from __future__ import annotations

import warnings
from typing import Literal

import lightning.pytorch as L
from lightning.pytorch.utilities.model_helpers import is_overridden

BATCHES_PER_CALL = 8
"""What ``steps_per_call=auto`` takes where nothing follows single batches."""
_HOOKS = ("on_train_batch_start", "on_train_batch_end")
_WHOLE = {"limit_train_batches": 1.0, "val_check_interval": 1.0, "max_steps": -1, "overfit_batches": 0.0}
"""Settings of a Trainer that count calls, with the values at which they count nothing."""


class GroupedBatchesWarning(UserWarning):
    """Several batches are in one call although something counts calls."""


def batches_per_call(trainer: L.Trainer | None, setting: int | Literal["auto"]) -> int:
    """Return how many batches to group: what `setting` says, or for ``auto`` 8 where no one follows single batches.

    A callback that overrides a batch hook follows them, unless its class attribute ``works_in_groups`` is True: then
    its ``on_train_batch_end`` is called for every batch, and its ``on_train_batch_start`` for every group. So does a
    module that overrides one or has a ``training_step`` without that attribute, and every setting of the
    Trainer that counts batches. Grouping saves the Trainer's overhead of each call, and the numbers are the same bits.

    Warns:
        GroupedBatchesWarning: A number was set, and something follows single batches.
    """
    if setting == 1 or trainer is None:
        return 1 if setting == "auto" else setting
    follower = _follower_of_batches(trainer)
    if setting == "auto":
        return 1 if follower else BATCHES_PER_CALL
    if follower:
        warnings.warn(
            f"{follower} sees {setting} batches as one, since steps_per_call={setting}; set steps_per_call=auto",
            GroupedBatchesWarning,
            stacklevel=2,
        )
    return setting


def _follower_of_batches(trainer: L.Trainer) -> str | None:
    for name, whole in _WHOLE.items():
        if getattr(trainer, name) != whole:
            return f"trainer.{name}={getattr(trainer, name)}"
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        return "trainer.fast_dev_run"
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if any(is_overridden(hook, callback) for hook in _HOOKS) and not getattr(callback, "works_in_groups", False):
            return f"callback {type(callback).__name__}"
    module = trainer.lightning_module
    if module is not None and any(is_overridden(hook, module) for hook in _HOOKS):
        return f"module {type(module).__name__}"
    if module is not None and not getattr(type(module).training_step, "works_in_groups", False):
        return f"{type(module).__name__}.training_step"
    return None
