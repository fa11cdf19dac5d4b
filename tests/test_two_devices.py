"""Two processes train the model that one would: whole runs, from the command line to the saved model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from aeframe.runs.folder import read_yaml
from aeframe.runs.records import Records

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow

# What draws no noise in training: where a run draws, each device draws its own.
RUNS = {
    "ae": ["model=ae"],
    "clipped, averaged, with two batches in a step": ["model=ae", "clip=0.5", "ema=0.9", "accumulate=2"],
    "a codebook": ["model=vqvae", "latent.codebook_size=16"],
}


def trained(folder: Path, words: list[str], devices: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    for variable in [name for name in environment if name.startswith("AEFRAME_")]:
        del environment[variable]
    options = [
        "data=table", f"data.path={folder.parent / 'rows.npy'}", "encoder.hidden=[32,16]", "latent.dim=4",
        "batch_size=32", "max_epochs=3", "pictures=false", "trainer.accelerator=cpu", "trainer.threads=1",
    ]  # fmt: skip
    command = [sys.executable, ROOT / "train.py", *options, *words, f"trainer.devices={devices}", f"folder={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent, env=environment)
    assert done.returncode == 0, done.stderr
    rows = Records(folder / "metrics.csv").read()
    numbers = {f"{row.step} {row.split} {row.name}": row.value for row in rows if row.split != "train"}
    return load_file(folder / "model" / "model.safetensors"), numbers


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_two_processes_train_what_one_would(words: list[str], tmp_path: Path) -> None:
    # 384 to train on: every batch is whole, and can be shared equally.
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(480, 6)) @ np.diag([3, 2, 1, 1, 0.5, 0.1]))
    one, alone = trained(tmp_path / "one", words, 1)
    two, shared = trained(tmp_path / "two", words, 2)
    assert read_yaml(tmp_path / "two" / "config.yaml")["trainer"]["devices"] == 2
    assert one.keys() == two.keys()
    for name, value in one.items():
        if not name.endswith("draws"):
            torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}")
    assert any(" train_epoch " in name for name in alone)
    assert any(" test " in name for name in alone)
    assert shared == pytest.approx(alone, rel=1e-3, abs=1e-5)
