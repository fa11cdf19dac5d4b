"""Two processes train the model that one would: whole runs, from the command line to the saved model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import aeframe
from aeframe.cli.main import main as aeframe_main
from aeframe.experiment.main import main
from aeframe.testing.subprocess_io import TIMEOUT
from aeframe.testing.two_process_run import expect_two_processes_equal_one, train_on_two_processes

pytestmark = pytest.mark.slow

RUNS = {
    "noise, dropout, clipped, averaged, with two batches in a step": [
        "model=vae", "encoder.dropout=0.1", "clip=0.5", "ema=0.9", "accumulate=2",
    ],
    "terms between samples": ["model=swae", "objective.lines=64"],
    "a codebook": ["model=vqvae", "latent.codebook_size=16"],
    "sharded": ["model=vae", "trainer.strategy=fsdp2", "ema=0.9", "checkpoint_every=3"],
}  # fmt: skip


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_two_processes_train_what_one_would(words: list[str], tmp_path: Path) -> None:
    # 195 to train on and 24 to validate: the last training batch has three rows, all on the first process, which the
    # other repeats; the only validation batch is shared as 12 and 12, that of the test as 12 and 13.
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(244, 6)) @ np.diag([3, 2, 1, 1, 0.5, 0.1]))
    data = ["data=numbers", f"data.path={tmp_path / 'rows.npy'}", "batch_size=32"]
    small = ["encoder.hidden=[32,16]", "latent.dim=4"]
    expect_two_processes_equal_one(tmp_path, [*data, *small, *words])


def test_a_sharded_run_is_finished_and_resumed_as_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(244, 6)) @ np.diag([3, 2, 1, 1, 0.5, 0.1]))
    data = ["data=numbers", f"data.path={tmp_path / 'rows.npy'}", "batch_size=32", "pictures=false", "max_epochs=2"]
    small = ["model=vae", "encoder.hidden=[32,16]", "latent.dim=4", "trainer.accelerator=cpu", "trainer.threads=1"]
    run, sharded = tmp_path / "run", ["trainer.strategy=fsdp2", "trainer.devices=2"]
    train_on_two_processes(tmp_path, [*data, *small, *sharded, f"folder={run}"])
    checkpoints = run / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == [
        "best.ckpt", "last.ckpt", "last.previous.ckpt", "shards",
    ]  # fmt: skip
    saved = load_file(run / "model" / "model.safetensors")
    # `finish` saves the same model again, after a kill between training and saving.
    shutil.rmtree(run / "model")
    (run / "state.json").unlink()
    assert aeframe_main(["finish", str(run)]) == 0
    again = load_file(run / "model" / "model.safetensors")
    assert again.keys() == saved.keys()
    assert all(torch.equal(again[name], value) for name, value in saved.items())
    train_on_two_processes(tmp_path, [f"resume={run}", "max_epochs=3"])
    # On one device its checkpoints become whole files. The shards that no file names any more are removed.
    one = ["trainer.strategy=auto", "trainer.devices=1", "max_epochs=4"]
    assert main([f"resume={run}", *one]) == 0
    assert "resumes in epoch 4, after batch 21" in " ".join(capsys.readouterr().err.split())
    assert len(list((checkpoints / "shards").iterdir())) == 1
    assert aeframe.load(run).progress.batch == 28


SCRIPT = """
import numpy as np
import aeframe

rng = np.random.default_rng(0)
x = rng.normal(size=(480, 6)) @ np.diag([3, 2, 1, 1, 0.5, 0.1])
weight = rng.uniform(0.2, 3, 480) if {weighted} else None
run = aeframe.fit(
    x, sample_weight=weight, model="ae", max_epochs=2, batch_size=32, pictures=False, folder="{folder}",
    encoder={{"hidden": [32, 16]}}, latent={{"dim": 4}},
    trainer={{"devices": {devices}, "accelerator": "cpu", "threads": 1}},
)
codes = run.model.encode(run.model.prepare(x))
if "{folder}" == "one":
    np.save("codes.npy", codes.numpy())
else:
    # Each process has the trained model.
    assert np.allclose(codes, np.load("codes.npy"), atol=1e-5)
"""


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.parametrize(
    ("weighted", "launcher", "devices"), [(False, TORCHRUN, None), (True, [], 2)], ids=["torchrun", "weighted"]
)
def test_a_script_with_samples_in_memory_trains_on_two_processes_what_it_would_on_one(
    weighted: bool, launcher: list[str], devices: int | None, tmp_path: Path
) -> None:
    weights = []
    for folder, command, num in (("one", [], 1), ("two", launcher, devices)):
        script = tmp_path / f"{folder}.py"
        script.write_text(SCRIPT.format(weighted=weighted, devices=num, folder=folder), encoding="utf-8")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        done = subprocess.run(
            [sys.executable, *command, script.name],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        weights.append(load_file(tmp_path / folder / "model" / "model.safetensors"))
    one, two = weights
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5, msg=f"'{name}' differs")


def test_the_same_command_under_torchrun_finds_its_run(tmp_path: Path) -> None:
    named = ["--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--rdzv-id", "mine"]
    words = ["model=ae", "data=breast_cancer", "max_epochs=1", "batch_size=64", "encoder.hidden=[8]", "pictures=false"]
    command = [sys.executable, "-m", "torch.distributed.run", *named, "-m", "aeframe.experiment.main", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    for expected in ("begins", "note: run 'runs/mine-ae-breast_cancer' is complete after 8 batches"):
        done = subprocess.run(
            [*command, "trainer.accelerator=cpu", "trainer.threads=1"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(expected) == 1
        assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine-ae-breast_cancer"]
