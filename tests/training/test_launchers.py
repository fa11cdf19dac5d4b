"""The processes of a launcher, and the devices of a run."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from aeframe.errors import AeframeError
from aeframe.training.launchers import cluster_environment, launcher_world, num_devices, with_devices

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train.sh", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"}
"""What every process of a Slurm job has."""
STEP = {**JOB, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2"}
"""What a task has that srun started."""
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*STEP, *TORCHRUN, "MASTER_PORT"}:
        # Set first, so that what a test leaves in the environment is removed at its end.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def enter(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("environment", "launcher", "lightning"),
    [
        ({}, None, None),
        (TORCHRUN, "torchrun", TorchElasticEnvironment),
        (STEP, "srun", SLURMEnvironment),
        # torchrun started by srun, once on each node.
        ({**STEP, **TORCHRUN}, "torchrun", TorchElasticEnvironment),
        # A batch script, and a shell that srun opened with one task.
        (JOB, None, LightningEnvironment),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1"}, None, LightningEnvironment),
        # Lightning takes the tasks of an interactive job for single processes.
        ({**STEP, "SLURM_JOB_NAME": "interactive"}, "srun", SLURMEnvironment),
    ],
)
def test_the_launcher_decides_how_many_devices_a_run_has(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], launcher: str | None, lightning: Any
) -> None:
    enter(monkeypatch, environment)
    world = launcher_world()
    assert (None if world is None else world.launcher) == launcher
    found = with_devices({"accelerator": "cpu", "devices": None, "num_nodes": None})
    assert (found["devices"], found["num_nodes"]) == ((1, 1) if launcher is None else (2, 2))
    made = cluster_environment()
    assert (None if made is None else type(made)) is lightning


@pytest.mark.parametrize("settings", [{"devices": 2}, {"devices": "auto"}, {"devices": [0, 1], "num_nodes": 2}])
def test_settings_may_repeat_what_the_launcher_started(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    enter(monkeypatch, TORCHRUN)
    found = with_devices(settings)
    assert num_devices(found) * found["num_nodes"] == 4


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"devices": 4, "num_nodes": None}, "trainer.devices=4"),
        ({"devices": 2, "num_nodes": 1}, "trainer.devices=2 trainer.num_nodes=1"),
        ({"devices": [3], "num_nodes": None}, r"trainer.devices=\[3\]"),
    ],
)
def test_other_numbers_than_the_launcher_started_are_an_error(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], found: str
) -> None:
    enter(monkeypatch, TORCHRUN)
    with pytest.raises(AeframeError, match=rf"torchrun started 2 x 2 processes .* but the config has {found}; leave"):
        with_devices(settings)


def test_tasks_that_lightning_cannot_count_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, STEP)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(AeframeError, match=r"started 4 tasks .* start them by srun --nodes=2 --ntasks-per-node=2"):
        launcher_world()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    with pytest.raises(AeframeError, match="srun started 3 processes on 2 nodes, but a run needs equally many on each"):
        launcher_world()


@pytest.mark.parametrize(("devices", "expected"), [(1, 1), (4, 4), ([3], 1), ([0, 1], 2), ("auto", 1), (-1, 1)])
def test_devices_are_counted(devices: int | str | list[int], expected: int) -> None:
    assert num_devices({"devices": devices, "accelerator": "cpu"}) == expected


def test_all_devices_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    assert num_devices({"devices": "auto", "accelerator": "auto"}) == 8
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert num_devices({"devices": -1, "accelerator": "auto"}) == 1


def test_steps_of_a_job_at_the_same_time_meet_at_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = []
    for step in ("0", "1", "12"):
        enter(monkeypatch, {**STEP, "SLURM_STEP_ID": step})
        monkeypatch.delenv("MASTER_PORT", raising=False)
        environment = cluster_environment()
        assert environment is not None
        ports.append(environment.main_port)
    assert len(set(ports)) == 3
    assert all(10000 < port < 32768 for port in ports)
    monkeypatch.setenv("MASTER_PORT", "29500")
    environment = cluster_environment()
    assert environment is not None
    assert environment.main_port == 29500
