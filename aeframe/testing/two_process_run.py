"""Compare a training run on two processes with the same run on one process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from aeframe.experiment.api import fit
from aeframe.plain_files import read_mapping
from aeframe.runs.records import Records
from aeframe.testing.expectations import expect
from aeframe.testing.subprocess_io import TIMEOUT

_SMALL = ("max_epochs=2", "pictures=false", "trainer.accelerator=cpu", "trainer.threads=1")
_SPLITS = {"train", "train_epoch", "val", "test"}


def expect_two_processes_equal_one(folder: Path, overrides: Sequence[str]) -> None:
    """Train in this process, and again with ``aeframe-train`` on two processes; compare all weights and metrics.

    Args:
        folder: The folder of both runs.
        overrides: The config of the run. Dropout within torch's fused networks, such as `torch.nn.LSTM`, must be 0:
            each device draws its own.

    Raises:
        CheckFailedError: A run fails, or warns on two processes, or a weight or metric differs.
    """
    overrides = [*_SMALL, *overrides]
    fit(overrides=[*overrides, f"folder={folder / 'one'}"])
    _train(folder, [*overrides, "trainer.devices=2", f"folder={folder / 'two'}"])
    config = read_mapping(folder / "two" / "config.yaml")
    expect(config["trainer"]["devices"] == 2, "expected the second run to have two processes, it had one")
    weights, weights_of_two = (_weights(folder / name) for name in ("one", "two"))
    different_tensors = sorted(weights.keys() ^ weights_of_two.keys())
    expect(not different_tensors, f"two processes save other tensors: {different_tensors}")
    for name, value in weights.items():
        near = torch.allclose(weights_of_two[name].double(), value.double(), rtol=1e-4, atol=1e-5)
        expect(near, f"'{name}' differs when two processes train it")
    metrics, metrics_of_two = (_metrics(folder / name) for name in ("one", "two"))
    different_names = sorted(metrics.keys() ^ metrics_of_two.keys())
    expect(not different_names, f"two processes log other metrics: {different_names}")
    # The names are "step split name".
    splits = {name.split()[1] for name in metrics}
    expect(splits == _SPLITS, f"expected metrics of {sorted(_SPLITS)}, found those of {sorted(splits)}")
    for name, value_of_one in metrics.items():
        value_of_two = metrics_of_two[name]
        near = abs(value_of_two - value_of_one) <= max(1e-4 * abs(value_of_one), 1e-5)
        expect(near, f"'{name}' is {value_of_one:.6g} with one process and {value_of_two:.6g} with two")


def _train(folder: Path, overrides: Sequence[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AEFRAME_")}
    done = subprocess.run(
        [sys.executable, "-m", "aeframe.experiment.main", *overrides],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        timeout=TIMEOUT,
    )
    expect(done.returncode == 0, f"the run on two processes fails:\n{done.stderr}")
    expect("Warning" not in done.stderr, f"the run on two processes warns:\n{done.stderr}")


def _weights(run: Path) -> dict[str, Tensor]:
    tensors = load_file(run / "model" / "model.safetensors")
    # `draws` is a counter of the random draws of a codebook, not a weight.
    return {name: value for name, value in tensors.items() if not name.endswith("draws")}


def _metrics(run: Path) -> dict[str, float]:
    """Return the logged metrics by ``"step split name"``."""
    return {f"{row.step} {row.split} {row.name}": row.value for row in Records(run / "metrics.csv").read()}
