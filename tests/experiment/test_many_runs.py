"""`aeframe.fit_many`: each run of a grid equals the same run of `aeframe.fit`, and has a folder of its own."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.errors import AeframeError
from aeframe.training.packing import PackedStep

QUICK = {
    "latent": {"dim": 3}, "max_batches": 11, "max_epochs": 9, "batch_size": 16, "log_every": 1, "root": "runs",
    "verbose": False, "pictures": False, "progress": False, "trainer": {"accelerator": "cpu", "threads": 1},
    "sampler": "prior",
}  # fmt: skip


def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(120, 8)).astype("float32")


def assert_equal(run: Any, alone: Any) -> None:
    for name, value in alone.model.model.state_dict().items():
        # Adam divides gradients by their size, which amplifies rounding errors of small ones.
        torch.testing.assert_close(run.model.model.state_dict()[name], value, rtol=1e-3, atol=2e-4, msg=name)
    key = ["split", "name", "step"]
    history, expected = (each.history.sort_values(key, ignore_index=True) for each in (run, alone))
    is_number = ~expected["name"].str.contains("seconds")
    pd.testing.assert_frame_equal(history[key], expected[key])
    np.testing.assert_allclose(history["value"][is_number], expected["value"][is_number], rtol=5e-3, atol=5e-4)


def test_runs_that_differ_in_numbers_are_trained_together_and_equal_single_runs(num_models: list[int]) -> None:
    settings = {**QUICK, "model": "beta_vae", "ema": 0.9, "clip": 1.0}
    beta = {"name": "linear", "start": 0.0, "end": 4.0}
    grid = {"objective.beta": [2.0, beta], "optimizer.lr": [1e-3, 3e-3]}

    runs = aeframe.fit_many(samples(), grid=grid, **settings)

    # At the first batch the weight of the term is 0 for some of the models, which then leave it out.
    assert num_models == [4] * 10
    assert len({run.folder for run in runs}) == 4
    alone = aeframe.fit(samples(), **settings, objective={"beta": beta}, optimizer={"lr": 3e-3})
    assert_equal(runs[3], alone)
    # A checkpoint has the tensors of one run, not the stacks of all.
    sizes = [(run.folder / "checkpoints" / "last.ckpt").stat().st_size for run in (runs[3], alone)]
    assert abs(sizes[0] - sizes[1]) < 0.05 * sizes[1]
    opened = aeframe.load(runs[3].folder)
    torch.testing.assert_close(opened.encode(samples()), runs[3].model.encode(samples()))


def test_models_of_other_shapes_are_trained_in_groups_and_what_cannot_be_packed_alone(
    num_models: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    grid = {"latent.dim": [2, 3], "seed": [0, 1], "accumulate": [1, 2]}
    runs = aeframe.fit_many(samples(), grid=grid, model="ae", **{**QUICK, "max_batches": 2})

    assert num_models == [2, 2, 2, 2]
    assert [run.model.spec.shape for run in runs] == [(8,)] * 8
    error = capsys.readouterr().err
    assert "run 1 (latent.dim=2, seed=0, accumulate=2): trained alone, since it does not step at every batch" in error
    assert error.count("trained alone") == 4


def test_a_run_that_fails_leaves_the_others() -> None:
    grid = {"optimizer.lr": [1e-3, 1e30, 2e-3]}
    with pytest.raises(AeframeError, match=r"1 of 3 runs failed .*run 1 \(optimizer.lr=1e\+30\): training stopped"):
        aeframe.fit_many(samples(), grid=grid, model="ae", **{**QUICK, "max_batches": 4})
    finished = [folder for folder in Path("runs").iterdir() if (folder / "model").is_dir()]
    assert len(finished) == 2


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "grid is empty"),
        ({"seed": 3}, r"expects a list of values, found 3; write \[3\]"),
        ({"model": "vae"}, "expects a list of values, found 'vae'"),
        ({"seed": []}, "has no values"),
        ({"trainer.threads": [1, 2]}, "all runs of one process have the same"),
        ({"latent.dims": [2, 3]}, "no option 'dims'"),
    ],
)
def test_a_grid_that_cannot_be_trained_is_refused(grid: Any, message: str) -> None:
    with pytest.raises(AeframeError, match=message):
        aeframe.fit_many(samples(), grid=grid, model="ae", **QUICK)
    assert not Path("runs").exists()


def test_a_signal_ends_all_runs_after_their_checkpoints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, count = PackedStep.step, itertools.count()

    def interrupted(self: PackedStep, *args: Any) -> None:
        step(self, *args)
        if next(count) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(PackedStep, "step", interrupted)
    with pytest.raises(SystemExit) as ended:
        aeframe.fit_many(samples(), grid={"seed": [0, 1]}, model="ae", **QUICK)
    assert ended.value.code == 128 + signal.SIGTERM
    folders = list(Path("runs").iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert (folder / "checkpoints" / "last.ckpt").is_file()
        assert not (folder / ".lock").exists()
    assert "keeps its newest checkpoint at batch 3" in capsys.readouterr().err
    resumed = aeframe.fit(samples(), resume=str(folders[0]))
    assert resumed.history["step"].max() == 11
