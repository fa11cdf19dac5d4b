"""The monitored metric selects the best weights of a run."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

import aeframe
from aeframe import AeframeError
from aeframe.runs.folder import RunFolder
from aeframe.training.run_checkpoints import RunCheckpoints

from .short_runs import PER_EPOCH, make_data, make_module, plain_trainer


@pytest.mark.parametrize(("monitor", "best"), [("bound", "first"), ("loss", "last"), ("reconstruction", "last")])
def test_the_best_weights_are_those_of_the_lowest_monitored_number(monitor: str, best: str, tmp_path: Path) -> None:
    # With a very small weight, the KL grows while the training loss falls: bound and loss select other epochs.
    run = aeframe.fit(
        model="vae", data="breast_cancer", objective={"beta": 1e-4}, optimizer={"lr": 3e-3}, monitor=monitor,
        max_epochs=4, batch_size=32, pictures=False, progress=False, trainer={"threads": 1, "accelerator": "cpu"},
        folder=str(tmp_path / "run"),
    )  # fmt: skip
    folder = RunFolder(run.folder)
    with folder.metrics.open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val" and row["name"] == monitor]
    found = {int(row["step"]): float(row["value"]) for row in rows}
    steps = sorted(found)
    chosen = torch.load(folder.best, weights_only=True)["aeframe"]["progress"]["batch"]
    assert chosen == min(found, key=found.__getitem__) == (steps[0] if best == "first" else steps[-1])
    assert run.monitored == pytest.approx(found[chosen])


def test_a_number_that_is_not_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as caught:
        aeframe.fit(
            model="vae", monitor="los", max_batches=2, pictures=False, progress=False, folder=str(tmp_path / "run"),
            trainer={"threads": 1, "accelerator": "cpu"},
        )  # fmt: skip
    assert str(caught.value).startswith(
        "monitor 'los' is not measured on the validation split, did you mean 'loss'?; choose one of "
    )
    assert ", bound, " in str(caught.value)


class Scores(L.Callback):
    """Replace the monitored metric of each validation by the next of these values."""

    works_in_groups = True

    def __init__(self, values: list[float]) -> None:
        self.values = list(values)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("val/score", self.values.pop(0))


def fit(folder: Path, values: list[float], mode: str = "min", **arguments: Any) -> RunCheckpoints:
    checkpoints = RunCheckpoints(folder, monitor="val/score", mode=mode)
    trainer = plain_trainer(
        callbacks=[Scores(values), checkpoints],
        enable_checkpointing=True,
        num_sanity_val_steps=0,
        **{"max_epochs": len(values), **arguments},
    )
    trainer.fit(make_module(), datamodule=make_data())
    return checkpoints


def batch_of(path: Path) -> int:
    found: int = torch.load(path, weights_only=True)["aeframe"]["progress"]["batch"]
    return found


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("min", [3.0, 1.0, 2.0], 2),
        ("max", [3.0, 1.0, 2.0], 1),
        # Of equal values the first is best; NaN never is.
        ("min", [1.0, 1.0], 1),
        ("min", [math.nan, 2.0, -math.inf, math.nan], 2),
        ("max", [math.inf, 2.0, 3.0], 3),
    ],
)
def test_the_best_epoch_of_some_scores(tmp_path: Path, mode: str, values: list[float], best: int) -> None:
    checkpoints = fit(tmp_path, values, mode)
    assert checkpoints.best_value == values[best - 1]
    assert checkpoints.best_batch == batch_of(checkpoints.best) == best * PER_EPOCH
    # The newest checkpoint is of the last epoch, better or not.
    assert batch_of(checkpoints.last) == len(values) * PER_EPOCH


def test_without_a_finite_number_there_is_no_best(tmp_path: Path) -> None:
    checkpoints = fit(tmp_path, [math.nan])
    assert checkpoints.best_value is None
    assert not checkpoints.best.exists()
    assert batch_of(checkpoints.last) == PER_EPOCH


def test_a_validation_inside_an_epoch_counts(tmp_path: Path) -> None:
    # After batches 3 and 6.
    checkpoints = fit(tmp_path, [1.0, 2.0], max_epochs=1, val_check_interval=3)
    assert batch_of(checkpoints.best) == 3
    assert batch_of(checkpoints.last) == PER_EPOCH
