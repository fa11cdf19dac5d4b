"""When one call of ``training_step`` receives several batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    EarlyStopping,
    LambdaCallback,
    LearningRateMonitor,
    ModelCheckpoint,
    Timer,
)
from torch import Tensor, nn

from aeframe.data.grouping import BATCHES_PER_CALL, GroupedBatchesWarning, batches_per_call
from aeframe.training.averaging import WeightAverage
from aeframe.training.progress_line import ProgressLine
from aeframe.training.run_checkpoints import RunCheckpoints


def make_trainer(*callbacks: Callback, **arguments: Any) -> L.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(
        **{"accelerator": "cpu", "enable_checkpointing": False, **quiet, **arguments}, callbacks=list(callbacks)
    )
    trainer.strategy.connect(Grouped())
    return trainer


class Grouped(L.LightningModule):
    """A module whose ``training_step`` accepts several batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight.sum()

    training_step.works_in_groups = True  # type: ignore[attr-defined]


class HasStartHook(Callback):
    def on_train_batch_start(self, *_: Any) -> None:
        """Count calls."""


class HasEndHook(Callback):
    def on_train_batch_end(self, *_: Any) -> None:
        """Count calls."""


class HasEpochHook(Callback):
    def on_train_epoch_end(self, *_: Any) -> None:
        """Count epochs."""


class WorksInGroups(HasEndHook):
    works_in_groups = True


UNGROUPED: dict[str, Callable[[], Callback]] = {
    "HasStartHook": HasStartHook,
    "HasEndHook": HasEndHook,
    "LambdaCallback": lambda: LambdaCallback(on_train_batch_end=lambda *_: None),
    "LearningRateMonitor": lambda: LearningRateMonitor("step"),
    "Timer": Timer,
}


def test_batches_are_grouped_by_default() -> None:
    assert batches_per_call(make_trainer(), "auto") == BATCHES_PER_CALL == 8
    assert batches_per_call(make_trainer(), 3) == 3
    assert batches_per_call(make_trainer(), 1) == 1


def test_without_a_trainer_only_a_number_groups() -> None:
    assert batches_per_call(None, "auto") == 1
    assert batches_per_call(None, 3) == 3


@pytest.mark.parametrize("name", UNGROUPED)
def test_a_callback_with_a_batch_hook_ungroups(name: str) -> None:
    trainer = make_trainer(UNGROUPED[name]())
    assert batches_per_call(trainer, "auto") == 1
    with pytest.warns(GroupedBatchesWarning) as caught:
        assert batches_per_call(trainer, 4) == 4
    assert str(caught[0].message) == (
        f"callback {name} receives 4 batches as one, because steps_per_call=4; set steps_per_call=auto"
    )


def test_a_model_checkpoint_ungroups(tmp_path: Path) -> None:
    trainer = make_trainer(ModelCheckpoint(tmp_path, every_n_train_steps=2), enable_checkpointing=True)
    assert batches_per_call(trainer, "auto") == 1


@pytest.mark.parametrize(
    "make",
    [
        HasEpochHook,
        WorksInGroups,
        ProgressLine,
        lambda: WeightAverage(0.9),
        lambda: RunCheckpoints(Path("unused")),
        lambda: EarlyStopping("val/bound"),
        BatchSizeFinder,
    ],
    ids=[
        "HasEpochHook",
        "WorksInGroups",
        "ProgressLine",
        "WeightAverage",
        "RunCheckpoints",
        "EarlyStopping",
        "BatchSizeFinder",
    ],
)
def test_other_callbacks_do_not_ungroup(make: Callable[[], Callback]) -> None:
    trainer = make_trainer(make(), enable_checkpointing=True)
    trainer.callbacks = [callback for callback in trainer.callbacks if not isinstance(callback, ModelCheckpoint)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batches_per_call(trainer, "auto") == BATCHES_PER_CALL
        assert batches_per_call(trainer, 4) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit_train_batches", 3),
        ("limit_train_batches", 0.5),
        ("val_check_interval", 2),
        ("val_check_interval", 0.5),
        ("max_steps", 10),
    ],
)
def test_a_setting_of_the_trainer_that_counts_batches_ungroups(name: str, value: float) -> None:
    trainer = make_trainer(**{name: value})
    assert batches_per_call(trainer, "auto") == 1
    with pytest.warns(GroupedBatchesWarning, match=f"^trainer.{name}={value} receives 4 batches as one"):
        batches_per_call(trainer, 4)


def test_overfitting_on_some_batches_ungroups() -> None:
    assert batches_per_call(make_trainer(overfit_batches=2), "auto") == 1


def test_a_progress_bar_of_lightning_ungroups() -> None:
    assert batches_per_call(make_trainer(enable_progress_bar=True), "auto") == 1


def test_a_fast_dev_run_ungroups() -> None:
    assert batches_per_call(make_trainer(fast_dev_run=True), "auto") == 1


class HasBatchHook(Grouped):
    def on_train_batch_end(self, *_: Any) -> None:
        """Count calls."""


class OwnStep(Grouped):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight.sum()


@pytest.mark.parametrize(("kind", "who"), [(HasBatchHook, "module HasBatchHook"), (OwnStep, "OwnStep.training_step")])
def test_a_module_that_needs_single_batches_ungroups(kind: type[L.LightningModule], who: str) -> None:
    trainer = make_trainer()
    trainer.strategy.connect(kind())
    assert batches_per_call(trainer, "auto") == 1
    with pytest.warns(GroupedBatchesWarning, match=f"^{who} receives 4 batches as one"):
        batches_per_call(trainer, 4)
