"""How many training batches one call of ``training_step`` receives."""

from __future__ import annotations

import warnings
from typing import Literal

import lightning.pytorch as L
from lightning.pytorch.utilities.model_helpers import is_overridden

BATCHES_PER_CALL = 8
"""Batches in one call with ``steps_per_call=auto``, if nothing attached to the Trainer needs single batches."""
_HOOKS = ("on_train_batch_start", "on_train_batch_end")
_NEUTRAL = {"limit_train_batches": 1.0, "val_check_interval": 1.0, "max_steps": -1, "overfit_batches": 0.0}
"""Trainer settings that count calls of ``training_step``, with the values at which they have no effect."""


class GroupedBatchesWarning(UserWarning):
    """One call of ``training_step`` receives several batches, although something in the Trainer needs single ones."""


def batches_per_call(trainer: L.Trainer | None, setting: int | Literal["auto"]) -> int:
    """Return how many batches one call of ``training_step`` receives.

    Grouping saves the Trainer's overhead of a call; results are bit-identical. With ``auto`` 8 batches are grouped
    unless something needs single batches:

    - a callback that overrides ``on_train_batch_start`` or ``on_train_batch_end``, unless its class attribute
      ``works_in_groups`` is True;
    - a module that overrides one of these hooks;
    - a module whose ``training_step`` has no true attribute ``works_in_groups``;
    - a setting of the Trainer that counts batches.

    A callback with ``works_in_groups`` receives ``on_train_batch_end`` for every batch, but ``on_train_batch_start``
    only once for every group.

    Args:
        trainer: The Trainer with its callbacks and module. If it is None, the result is `setting`, or 1 for ``auto``.
        setting: ``steps_per_call`` of the run.

    Warns:
        GroupedBatchesWarning: `setting` is a number above 1, and something needs single batches.
    """
    if setting == 1 or trainer is None:
        return 1 if setting == "auto" else setting
    needs_batches = _needs_single_batches(trainer)
    if setting == "auto":
        return 1 if needs_batches else BATCHES_PER_CALL
    if needs_batches:
        warnings.warn(
            f"{needs_batches} receives {setting} batches as one, because steps_per_call={setting}; "
            "set steps_per_call=auto",
            GroupedBatchesWarning,
            stacklevel=2,
        )
    return setting


def _needs_single_batches(trainer: L.Trainer) -> str | None:
    """Return the first callback, module or setting that needs single batches, or None."""
    for name, neutral in _NEUTRAL.items():
        if getattr(trainer, name) != neutral:
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
