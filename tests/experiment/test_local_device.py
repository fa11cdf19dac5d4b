"""Devices of the processes that a local launcher starts; the machine's devices are faked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aeframe.experiment import local_device
from aeframe.experiment.local_device import use_free_device, visible_devices

JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
ONE: dict[str, Any] = {"accelerator": "auto", "devices": None}
WORKER = f"""
import sys
from aeframe.experiment.local_device import use_free_device
print(use_free_device({ONE}, {JOBLIB!r}), flush=True)
print(use_free_device({ONE}, {JOBLIB!r}), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,GPU-b")
    claims: dict[int, Any] = {}
    monkeypatch.setattr(local_device, "_claims", claims)
    yield
    for _, file in claims.values():
        file.close()


def test_processes_take_free_devices_and_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def worker() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def devices(process: subprocess.Popen[str]) -> set[str]:
        assert process.stdout is not None
        return {process.stdout.readline().strip() for _ in range(2)}

    workers = []
    found = []
    for _ in range(5):
        workers.append(worker())
        found.append(devices(workers[-1]))
    # More processes than devices share them equally.
    assert found == [{"0"}, {"2"}, {"GPU-b"}, {"0"}, {"2"}]
    # The device of a process that ended is free, also after SIGKILL.
    workers[1].kill()
    workers[1].wait()
    workers.append(worker())
    assert devices(workers[-1]) == {"2"}
    for process in workers:
        process.communicate("")


@pytest.mark.parametrize(
    ("trainer", "launcher", "devices"),
    [
        (ONE, "hydra._internal.core_plugins.basic_launcher.BasicLauncher", "0,2"),
        (ONE, "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher", "0,2"),
        ({**ONE, "devices": [1]}, JOBLIB, "0,2"),
        ({**ONE, "accelerator": "cpu"}, JOBLIB, "0,2"),
        (ONE, JOBLIB, "2"),
        (ONE, JOBLIB, ""),
    ],
)
def test_others_keep_what_they_see(
    trainer: dict[str, Any], launcher: str, devices: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    assert use_free_device(trainer, launcher) is None
    assert local_device.os.environ["CUDA_VISIBLE_DEVICES"] == devices


def test_without_the_variable_the_devices_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert visible_devices() == ["0", "1", "2"]
    assert use_free_device(ONE, JOBLIB) == "0"
    assert local_device.os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    # The process keeps its device.
    assert use_free_device(ONE, JOBLIB) == "0"
