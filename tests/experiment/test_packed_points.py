"""``packed=true``: the points of a sweep are trained together, and equal those that are trained one after the other."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aeframe
from aeframe.experiment.main import main
from aeframe.experiment.sweep import PointRecord
from aeframe.training.packing import PackedStep

SETTINGS = (
    "model=vae", "data=breast_cancer", "latent.dim=2", "encoder.hidden=[8]", "sampler=prior", "batch_size=64",
    "max_batches=9", "verbose=false", "pictures=false", "progress=false", "trainer.accelerator=cpu",
    "trainer.threads=1",
)  # fmt: skip
GRID = ("seed=0,1", "optimizer.lr=1e-3,3e-3")


def rows(folder: str) -> list[dict[str, str]]:
    with (Path(folder) / "sweep.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_points_are_trained_together_and_equal_those_trained_alone(num_models: list[int]) -> None:
    assert main(["-m", *SETTINGS, *GRID, "packed=true", "folder=together"]) == 0
    assert num_models == [4] * 9
    assert main(["-m", *SETTINGS, *GRID, "folder=alone"]) == 0
    assert len(num_models) == 9
    for together, alone in zip(rows("together"), rows("alone"), strict=True):
        for name, value in alone.items():
            if name in ("bound", "mse", "val/bound"):
                assert float(together[name]) == pytest.approx(float(value), rel=1e-3)
            elif name in ("point", "status", "best", "seed", "optimizer.lr"):
                assert together[name] == value
        ours, theirs = (aeframe.load(row["run"]).model.state_dict() for row in (together, alone))
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=2e-4, msg=name)
    # The config of a point trains it by itself.
    assert main(["--config", "together/1-vae-breast_cancer/config.yaml", "folder=again"]) == 0
    again = aeframe.load("again").encode(np.zeros((1, 30), dtype="float32"))
    torch.testing.assert_close(again, aeframe.load(rows("alone")[1]["run"]).encode(np.zeros((1, 30), dtype="float32")))


def test_the_number_of_points_that_are_trained_together_can_be_limited(num_models: list[int]) -> None:
    assert main(["-m", *SETTINGS, *GRID, "packed=true", "folder=sweep", "hydra.sweeper.max_batch_size=2"]) == 0
    assert num_models == [2] * 18
    assert [row["status"] for row in rows("sweep")] == ["finished"] * 4


def test_a_point_that_fails_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", *SETTINGS, "seed=0", "optimizer.lr=1e-3,1e30,3e-3", "packed=true", "folder=sweep"]) == 2
    assert [row["status"] for row in rows("sweep")] == ["finished", "failed", "finished"]
    assert "point 1 (optimizer.lr=1e+30): training stopped: term 'reconstruction'" in capsys.readouterr().err


def test_an_error_in_code_is_recorded_and_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    from aeframe.experiment import workflow

    train = workflow.train

    def fail(config: dict[str, Any], **arguments: Any) -> Any:
        if config["seed"] == 1:
            raise RuntimeError("a mistake\nin the code")
        return train(config, **arguments)

    monkeypatch.setattr(workflow, "train", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        main(["-m", *SETTINGS, "seed=0,1", "packed=true", "folder=sweep"])
    assert [(row["status"], row["error"]) for row in rows("sweep")] == [
        ("finished", ""),
        ("failed", "RuntimeError: a mistake in the code"),
    ]


def test_an_error_while_a_point_is_prepared_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = PointRecord.monitor

    def fail(self: PointRecord, config: dict[str, Any]) -> None:
        if config["seed"] == 0:
            raise RuntimeError("a mistake")
        monitor(self, config)

    monkeypatch.setattr(PointRecord, "monitor", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        main(["-m", *SETTINGS, "seed=0,1", "packed=true", "folder=sweep"])
    assert [row["status"] for row in rows("sweep")] == ["failed", "finished"]


def test_an_interrupted_sweep_is_continued(monkeypatch: pytest.MonkeyPatch, num_models: list[int]) -> None:
    step = PackedStep.step

    def interrupted(self: PackedStep, *args: Any) -> None:
        if len(num_models) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, *args)

    command = ["-m", *SETTINGS, *GRID, "packed=true", "folder=sweep", "resume=auto"]
    with monkeypatch.context() as patch:
        patch.setattr(PackedStep, "step", interrupted)
        assert main(command) == 128 + signal.SIGTERM
    assert [row["status"] for row in rows("sweep")] == ["unfinished"] * 4
    assert main(command) == 0
    assert [row["status"] for row in rows("sweep")] == ["finished"] * 4
    assert main(["-m", *SETTINGS, *GRID, "folder=alone"]) == 0
    for together, alone in zip(rows("sweep"), rows("alone"), strict=True):
        assert float(together["val/bound"]) == pytest.approx(float(alone["val/bound"]), rel=1e-3)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["trainer.threads=1,2"], "trainer.threads varies, of which one process has one value"),
        (["seed=0,1", "profile=true"], "profile=true, which measures one run"),
        (["seed=0,1", "hydra/launcher=joblib"], "found the launcher hydra_plugins.hydra_joblib_launcher"),
    ],
)
def test_what_cannot_be_trained_together_is_an_error(
    capsys: pytest.CaptureFixture[str], overrides: list[str], sentence: str
) -> None:
    if "hydra/launcher=joblib" in overrides:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert main(["-m", *SETTINGS, *overrides, "packed=true", "folder=sweep"]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("sweep").exists()
