"""Compare a training run on two processes with the same run on one process."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from aeframe.experiment.api import fit
from aeframe.experiment.main import main
from aeframe.plain_files import read_mapping
from aeframe.runs.records import Records
from aeframe.testing.expectations import expect
from aeframe.testing.subprocess_io import TIMEOUT

_SMALL = ("max_epochs=2", "pictures=false", "trainer.accelerator=cpu", "trainer.threads=1")
_WORLD_SIZE = 2
_SPLITS = {"train", "train_epoch", "val", "test"}


def expect_two_processes_equal_one(folder: Path, overrides: Sequence[str]) -> None:
    """Train in this process, and again on two forked processes; compare all weights and metrics.

    Args:
        folder: The folder of both runs.
        overrides: The config of the run. Dropout within torch's fused networks, such as `torch.nn.LSTM`, must be 0:
            each device draws its own.

    Raises:
        CheckFailedError: A run fails, or warns on two processes, or a weight or metric differs.
    """
    overrides = [*_SMALL, *overrides]
    fit(overrides=[*overrides, f"folder={folder / 'one'}"])
    train_on_two_processes(folder, [*overrides, "trainer.devices=2", f"folder={folder / 'two'}"])
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


def train_on_two_processes(folder: Path, overrides: Sequence[str]) -> None:
    """Run ``aeframe-train`` in two forked processes, with the variables that torchrun sets.

    They need not import everything again, which takes longer than the run.

    Args:
        folder: The working folder, also for their output.
        overrides: The config of the run.

    Raises:
        CheckFailedError: The run fails, or warns.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs = [folder / f"rank{rank}.log" for rank in range(_WORLD_SIZE)]
    running = {_start(folder, overrides, rank, port, log): log for rank, log in enumerate(logs)}
    deadline = time.monotonic() + TIMEOUT
    try:
        while running:
            pid, status = os.waitpid(next(iter(running)), os.WNOHANG)
            for process in [pid] if pid else []:
                failed = running.pop(process)
                code = os.waitstatus_to_exitcode(status)
                text = failed.read_text(errors="replace")
                expect(code == 0, f"the run on two processes fails:\n{text}")
                expect("Warning" not in text, f"the run on two processes warns:\n{text}")
            expect(time.monotonic() < deadline, f"the run on two processes takes more than {TIMEOUT} s")
            time.sleep(0.01)
    finally:
        for process in running:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _start(folder: Path, overrides: Sequence[str], rank: int, port: int, log: Path) -> int:
    """Fork a process that runs ``aeframe-train``, and return its id."""
    with warnings.catch_warnings():
        # Python warns of a fork with threads; the child uses none of the parent's.
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.chdir(folder)
        for name in [name for name in os.environ if name.startswith("AEFRAME_")]:
            del os.environ[name]
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0",
            "WORLD_SIZE": str(_WORLD_SIZE), "LOCAL_WORLD_SIZE": str(_WORLD_SIZE), "GROUP_WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "two_process_run",
        }  # fmt: skip
        code = main(overrides)
    except BaseException:  # noqa: BLE001 -- the process must not return into the caller's tests
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _weights(run: Path) -> dict[str, Tensor]:
    tensors = load_file(run / "model" / "model.safetensors")
    # `draws` is a counter of the random draws of a codebook, not a weight.
    return {name: value for name, value in tensors.items() if not name.endswith("draws")}


def _metrics(run: Path) -> dict[str, float]:
    """Return the logged metrics by ``"step split name"``."""
    return {f"{row.step} {row.split} {row.name}": row.value for row in Records(run / "metrics.csv").read()}
