"""After a signal n at any time, a run ends with code 128 + n and one sentence, and can be resumed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.children import differences, result, start, train
from tests.chaos.conftest import Uninterrupted

pytestmark = pytest.mark.slow

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
NAME = "vae with ema, accumulation and patience, whose bound gets worse"
MOMENTS = ("batch 0", "batch 1", "batch 6", "batch 9", "validation 2", "epoch end", "test", "save", "pictures", "twice")


def send_at(moment: str, number: int) -> Callable[[], None]:
    """Return a function that makes a child process send itself a signal at a moment of its run."""

    def send(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), number)

    def prepare() -> None:
        from aeframe.experiment import saving
        from aeframe.training.module import AutoencoderModule as Module

        kind, _, at = moment.partition(" ")
        if kind in ("batch", "twice"):
            train_on = Module.train_on

            def interrupted(self: Module, each: Any) -> Any:
                if self.progress.batch == int(at or 6):
                    send()
                    if kind == "twice":
                        send()
                return train_on(self, each)

            Module.train_on = interrupted  # type: ignore[method-assign]
        elif kind == "validation":
            step = Module.validation_step

            def validate(self: Module, batch: Any, batch_idx: int) -> Any:
                if self.progress.epoch == int(at):
                    send()
                return step(self, batch, batch_idx)

            Module.validation_step = validate  # type: ignore[method-assign]
        elif kind == "epoch":
            end = Module.on_train_epoch_end

            def ended(self: Module) -> None:
                send()
                end(self)

            Module.on_train_epoch_end = ended  # type: ignore[method-assign]
        elif kind == "test":
            Module.on_test_epoch_start = send  # type: ignore[method-assign]
        else:
            name = {"save": "save_model", "pictures": "draw_pictures"}[kind]
            setattr(saving, name, send)

    return prepare


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", SIGNALS)
def test_after_a_signal_the_run_can_be_resumed(
    name: str, moment: str, uninterrupted: Callable[[str], Uninterrupted]
) -> None:
    whole, number = uninterrupted(NAME), getattr(signal, name)
    run = whole.folder / f"{name}-{moment.replace(' ', '-')}"
    words = [*whole.overrides, f"folder={run}"]
    if moment == "pictures":
        words.append("pictures=true")
    child = start(words, whole.folder, send_at(moment, number))
    assert child.wait() == 128 + number, child.text()
    (sentence,) = [line for line in child.text().splitlines() if line.startswith("ended by")]
    assert sentence.startswith(f"ended by {name}: run '{run}' ")
    if (run / "checkpoints" / "last.ckpt").is_file():
        assert f"continue with aeframe-train resume={run}" in sentence
    assert "Traceback" not in child.text()
    if moment == "pictures":
        assert train([f"resume={run}", "pictures=false"], whole.folder) == 0
        assert (run / "model" / "model.safetensors").is_file()
    else:
        whole.check_recovery(run)
    shutil.rmtree(run)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_to_one_of_two_processes_ends_both(name: str, tmp_path: Path) -> None:
    run, number = tmp_path / "run", getattr(signal, name)
    words = ["model=ae", "data=breast_cancer", "max_epochs=100000", "encoder.hidden=[8]", "batch_size=64"]
    quick = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.threads=1", f"folder={run}"]
    command = [sys.executable, "-m", "aeframe.experiment.main", *words, *quick]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").is_file() and process.poll() is None:
        assert time.monotonic() < deadline, "no epoch ended in two minutes"
        time.sleep(0.05)
    # As a queue may do, and a terminal for Ctrl-C: one process, or the whole group.
    if name != "SIGINT":
        process.send_signal(number)
    else:
        os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert errors.count(f"ended by {name}: run '{run}' keeps its newest checkpoint at batch ") == 1
    assert "It is recommended to use" not in errors


def slurm(job: int) -> Callable[[], None]:
    """Return what makes a child a job of Slurm."""
    variables = {
        "SLURM_JOB_ID": str(job), "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
        "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "localhost", "SLURM_STEP_ID": "0", "SLURM_NNODES": "1",
    }  # fmt: skip
    return lambda: os.environ.update(variables)


def test_a_requeue_signal_of_slurm_does_not_change_the_weights(uninterrupted: Callable[[str], Uninterrupted]) -> None:
    whole = uninterrupted(NAME)
    run = whole.folder / "slurm"

    def before() -> None:
        slurm(4711)()
        send_at("batch 9", signal.SIGUSR1)()

    child = start([*whole.overrides, f"folder={run}"], whole.folder, before)
    assert child.wait() == 128 + signal.SIGUSR1, child.text()
    assert not list(run.rglob("hpc_ckpt*"))
    child = start([f"resume={run}"], whole.folder, slurm(4712))
    assert child.wait() == 0, child.text()
    assert differences(whole.result, result(run)) == []


def test_a_second_process_is_an_error_and_a_killed_one_is_replaced(
    uninterrupted: Callable[[str], Uninterrupted],
) -> None:
    whole = uninterrupted("aae")
    run = whole.folder / "locked"

    def wait_in_training() -> None:
        from aeframe.training.module import AutoencoderModule as Module

        train_on = Module.train_on

        def slow(self: Module, each: Any) -> Any:
            if self.progress.batch == 12:
                time.sleep(60)
            return train_on(self, each)

        Module.train_on = slow  # type: ignore[method-assign]

    first = start([*whole.overrides, f"folder={run}"], whole.folder, wait_in_training)
    while not (run / "checkpoints" / "last.ckpt").is_file():
        time.sleep(0.01)
    second = start([f"resume={run}"], whole.folder)
    assert second.wait() == 2
    (sentence,) = [line for line in second.text().splitlines() if line.startswith("error")]
    assert sentence == (
        f"error: run '{run}' is in use by process {first.pid} on {socket.gethostname()}; wait until it ends, or choose "
        "another folder with folder=PATH"
    )
    os.kill(first.pid, 9)
    first.wait()
    third = start([f"resume={run}"], whole.folder)
    assert third.wait() == 0, third.text()
    taken = f"taking over run '{run}' from process {first.pid} on {socket.gethostname()}, which has ended"
    assert taken in third.text()
    assert differences(whole.result, result(run)) == []
