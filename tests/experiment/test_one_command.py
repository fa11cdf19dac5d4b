"""The same command in a queue begins a run, continues it, finishes it, and finds it complete."""

from __future__ import annotations

import math
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import aeframe
from aeframe.experiment import saving
from aeframe.experiment.finished_run import Run
from aeframe.experiment.main import main
from aeframe.runs import claim
from aeframe.runs.folder import RunFolder
from aeframe.training.module import AutoencoderModule
from aeframe.types import Batch

WORDS = [
    "model=vae", "data=breast_cancer", "max_epochs=3", "batch_size=128", "encoder.hidden=[8]", "latent.dim=2",
    "log_every=1", "pictures=false", "ema=0.9", "trainer.threads=1", "trainer.accelerator=cpu",
]  # fmt: skip
FILES = ("metrics.csv", "metrics.json", "log.txt", "model/model.safetensors", "model/config.yaml")
# An epoch has four batches.
LAST_OF_EPOCH = 3


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> Path:
    """Pretend to be in Slurm job 7; return its first folder."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("AEFRAME_RUN_ID", raising=False)
    return workplace / "runs" / "7-vae-breast_cancer"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, job: Path) -> Callable[..., int]:
    """Return a function that runs the command as in a new process, and returns its exit code."""

    def run(*words: str) -> int:
        monkeypatch.setattr(claim, "_claimed", set())
        return main([*WORDS, *words])

    return run


def signal_at(monkeypatch: pytest.MonkeyPatch, batch: int, number: int) -> None:
    """Make this process send itself a signal in a batch, once."""
    train_on, sent = AutoencoderModule.train_on, []

    def interrupted(self: AutoencoderModule, data: Batch) -> Tensor | None:
        if self.progress.batch == batch and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return train_on(self, data)

    monkeypatch.setattr(AutoencoderModule, "train_on", interrupted)


def result(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert main([*WORDS, f"folder={folder}"]) == 0
    return result(folder)


def scontrol(folder: Path, monkeypatch: pytest.MonkeyPatch, *, code: int, error: str = "") -> Path:
    """Put a program `scontrol` in front of the path; return the file with its arguments."""
    programs, log = folder / "programs", folder / "scontrol.txt"
    programs.mkdir()
    program = programs / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\necho "{error}" >&2\nexit {code}\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return log


@pytest.mark.parametrize("batch", [1, LAST_OF_EPOCH, 6])
def test_a_requeued_job_ends_with_the_bits_of_an_undisturbed_run(
    batch: int,
    command: Callable[..., int],
    job: Path,
    workplace: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = scontrol(workplace, monkeypatch, code=0)
    signal_at(monkeypatch, batch, signal.SIGUSR1)
    assert command() == 128 + signal.SIGUSR1
    assert log.read_text() == "requeue 7\n"
    printed = capsys.readouterr().err
    assert [line.split() for line in printed.splitlines() if line.startswith(" start")] == [["start", "begins"]]
    assert printed.splitlines()[-1] == (
        f"ended by SIGUSR1: run 'runs/{job.name}' keeps its newest checkpoint at batch {batch + 1}; job 7 was requeued "
        "and continues it"
    )
    assert command() == 0
    assert f"resumes in epoch {batch // 4 + 1}, after batch {batch + 1}" in capsys.readouterr().err
    assert result(job) == undisturbed
    # The same command again has nothing to do.
    before = {path: path.read_bytes() for path in job.rglob("*") if path.is_file()}
    assert command() == 0
    assert capsys.readouterr().err == (
        f"note: run 'runs/{job.name}' is complete after 12 batches, so nothing was trained; resume=false begins "
        "another\n"
    )
    assert {path: path.read_bytes() for path in job.rglob("*") if path.is_file()} == before
    assert [path.name for path in job.parent.iterdir()] == [job.name]


def test_a_job_that_cannot_be_requeued_says_how_to_continue(
    command: Callable[..., int],
    job: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scontrol(workplace, monkeypatch, code=1, error="slurm_requeue: Requested operation is presently disabled")
    signal_at(monkeypatch, 1, signal.SIGUSR1)
    assert command() == 128 + signal.SIGUSR1
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(
            "job 7 was not requeued (slurm_requeue: Requested operation is presently disabled); continue with "
            f"aeframe-train resume=runs/{job.name}"
        )
    )


def test_sigterm_is_left_to_slurm(
    command: Callable[..., int], job: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = scontrol(workplace, monkeypatch, code=0)
    signal_at(monkeypatch, 1, signal.SIGTERM)
    assert command() == 128 + signal.SIGTERM
    assert not log.exists()
    assert RunFolder(job).last.is_file()


def test_a_truncated_checkpoint_is_passed_over(
    command: Callable[..., int], job: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_at(monkeypatch, 9, signal.SIGTERM)
    command()
    last = RunFolder(job).last
    last.write_bytes(last.read_bytes()[:-1000])
    assert command() == 0
    assert result(job) == undisturbed


def test_a_trained_run_is_only_tested_and_saved(
    command: Callable[..., int],
    job: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_model", killed)
        with pytest.raises(KeyboardInterrupt):
            command()
    capsys.readouterr()
    monkeypatch.setattr(AutoencoderModule, "train_on", killed)
    assert command() == 0
    assert "finishes: trained for 12 batches, not saved yet" in capsys.readouterr().err
    assert result(job) == undisturbed


def test_fit_returns_the_run_that_is_complete(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(64, 4))

    def fit(rows: Any) -> Run:
        return aeframe.fit(
            rows, model="ae", max_epochs=1, encoder={"hidden": [8]}, latent={"dim": 2}, pictures=False, verbose=False,
            trainer={"accelerator": "cpu", "threads": 1},
        )  # fmt: skip

    trained, other = fit(x), fit(x + 1)
    assert [trained.folder.name, other.folder.name] == [f"7-ae-{x_name(trained)}", f"7-ae-{x_name(trained)}.2"]
    monkeypatch.setattr(claim, "_claimed", set())
    monkeypatch.setattr(AutoencoderModule, "train_on", None)
    for before, again in ((trained, fit(x)), (other, fit(x + 1))):
        assert (again.folder, again.metrics, again.monitored) == (before.folder, before.metrics, before.monitored)
        assert math.isfinite(again.monitored)
        rows = again.model.prepare(x)
        assert torch.equal(again.model.encode(rows), before.model.encode(rows))


def x_name(run: Run) -> str:
    name: str = RunFolder(run.folder).read_config()["data"]["name"]
    return name


def test_the_hours_of_training_are_counted_over_resumptions(
    command: Callable[..., int], job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each batch takes an hour of the clock of Lightning's timer.
    hours = [0]
    train_on = AutoencoderModule.train_on

    def slow(self: AutoencoderModule, data: Batch) -> Tensor | None:
        hours[0] += 1
        return train_on(self, data)

    monkeypatch.setattr(AutoencoderModule, "train_on", slow)
    monkeypatch.setattr("lightning.pytorch.callbacks.timer.time.monotonic", lambda: 3600.0 * hours[0])
    words = ["max_hours=5.5", "max_epochs=9", "steps_per_call=1"]
    with monkeypatch.context() as patch:
        signal_at(patch, 2, signal.SIGTERM)
        assert command(*words) == 128 + signal.SIGTERM
    assert hours == [3]
    assert command(*words) == 0
    assert hours == [6]
    assert (job / "model").is_dir()
    assert command(*words) == 0
    assert "is complete after 6 batches" in capsys.readouterr().err
    assert main([f"resume={job}", "max_hours=7.5"]) == 0
    assert hours == [8]
