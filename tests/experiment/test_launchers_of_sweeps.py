"""Sweeps in other processes, and sweeps that are killed: real training of a few batches."""

from __future__ import annotations

import csv
import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = [
    "data=breast_cancer", "max_batches=2", "sampler=prior", "trainer.accelerator=cpu", "trainer.threads=1",
    "pictures=false", "progress=false", "verbose=false", "workers=0", "folder=mine",
]  # fmt: skip


def rows() -> list[dict[str, str]]:
    with Path("mine/sweep.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def train(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *QUICK, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("launcher", "option"), [("joblib", "hydra.launcher.n_jobs=2"), ("submitit_local", None)])
def test_points_are_trained_in_other_processes(launcher: str, option: str | None) -> None:
    plugin = f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher"
    if importlib.util.find_spec(plugin) is None:
        pytest.skip(f"hydra/launcher={launcher} needs pip install 'aeframe[{launcher.partition('_')[0]}]'")
    options = [f"hydra/launcher={launcher}", *([] if option is None else [option])]
    done = train("latent.dim=2,3", *options)
    assert done.returncode == 0, done.stderr
    assert [(row["point"], row["status"], row["latent.dim"]) for row in rows()] == [
        ("0", "finished", "2"),
        ("1", "finished", "3"),
    ]


KILLED = """
import os, signal, sys
from aeframe.experiment import sweep
from aeframe.experiment.main import main

finish = sweep.PointRecord.finish

def finish_or_die(self, folder, monitored):
    if self.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    finish(self, folder, monitored)

sweep.PointRecord.finish = finish_or_die
main(sys.argv[1:])
"""


def test_a_sweep_that_was_killed_is_complete_after_the_same_command() -> None:
    command = ["latent.dim=range(2,5)", "resume=auto"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "-m", *QUICK, *command], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not Path("mine/sweep.csv").exists()
    first = Path("mine/0-ae-breast_cancer/metrics.csv").read_bytes()
    written = Path("mine/1-ae-breast_cancer/metrics.csv").stat().st_mtime_ns
    done = train(*command)
    assert done.returncode == 0, done.stderr
    assert "taking over run 'mine'" in done.stderr
    assert "sweep 'mine': 1 of 3 points are finished" in done.stderr
    assert [(row["point"], row["status"]) for row in rows()] == [(str(number), "finished") for number in range(3)]
    assert Path("mine/0-ae-breast_cancer/metrics.csv").read_bytes() == first
    # The run of this point was finished, its record was not.
    assert Path("mine/1-ae-breast_cancer/metrics.csv").stat().st_mtime_ns == written
