"""A whole run shared by two processes, beside that of one: from the command line to the saved model."""

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
from aeframe.model_store.files import read_yaml
from aeframe.runs.records import Records
from aeframe.testing.check import expect
from aeframe.testing.subprocess_io import SECONDS

_SMALL = ("max_epochs=2", "pictures=false", "trainer.accelerator=cpu", "trainer.threads=1")
_SPLITS = {"train", "train_epoch", "val", "test"}


def expect_two_processes_equal_one(folder: Path, words: Sequence[str]) -> None:
    """Train here, and again by ``aeframe-train`` on two processes; compare every weight and every number.

    Args:
        folder: Where both runs go.
        words: Of the command line. Let nothing in the run draw noise in training, which is each device's own, and let
            ``batch_size`` divide the training split, so that no row is left over.

    Raises:
        CheckFailedError: A run that ends with an error, a weight or a number that differs by more than a thousandth.
    """
    words = [*_SMALL, *words]
    fit(overrides=[*words, f"folder={folder / 'one'}"])
    _run(folder, [*words, "trainer.devices=2", f"folder={folder / 'two'}"])
    config = read_yaml(folder / "two" / "config.yaml")
    expect(config["trainer"]["devices"] == 2, "the second run was to have two processes, and had one")
    one, two = (_weights(folder / name) for name in ("one", "two"))
    expect(one.keys() == two.keys(), f"two processes save other tensors: {sorted(one.keys() ^ two.keys())}")
    for name, value in one.items():
        near = torch.allclose(two[name].double(), value.double(), rtol=1e-3, atol=1e-4)
        expect(near, f"'{name}' is not the same when two processes train it")
    alone, shared = (_numbers(folder / name) for name in ("one", "two"))
    expect(alone.keys() == shared.keys(), f"two processes log other numbers: {sorted(alone.keys() ^ shared.keys())}")
    splits = {name.split()[1] for name in alone}
    expect(splits == _SPLITS, f"expected numbers of {sorted(_SPLITS)}, found those of {sorted(splits)}")
    for name, number in alone.items():
        near = abs(shared[name] - number) <= max(1e-3 * abs(number), 1e-5)
        expect(near, f"'{name}' is {number:.6g} with one process and {shared[name]:.6g} with two")


def _run(folder: Path, words: Sequence[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AEFRAME_")}
    done = subprocess.run(
        [sys.executable, "-m", "aeframe.experiment.main", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        timeout=SECONDS,
    )
    expect(done.returncode == 0, f"the run of two processes ends with an error:\n{done.stderr}")


def _weights(run: Path) -> dict[str, Tensor]:
    found = load_file(run / "model" / "model.safetensors")
    # How often noise was drawn is no weight.
    return {name: value for name, value in found.items() if not name.endswith("draws")}


def _numbers(run: Path) -> dict[str, float]:
    return {f"{row.step} {row.split} {row.name}": row.value for row in Records(run / "metrics.csv").read()}
