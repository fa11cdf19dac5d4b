"""The processes that a launcher, torchrun or srun, has started for a run. Imports nothing heavy."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aeframe.errors import AeframeError
from aeframe.training.warning_filters import ignore_inapplicable_warnings

if TYPE_CHECKING:
    from lightning.fabric.plugins import ClusterEnvironment

TIMEOUT = 600.0
"""Seconds that a device waits for the other ones, the default of ``trainer.timeout``."""
_ALL = (None, "auto", -1)
"""Values of ``trainer.devices`` that leave the number to the launcher."""


@dataclass(frozen=True, slots=True)
class LauncherWorld:
    """The processes of a run: one for each device."""

    launcher: str
    """``torchrun`` or ``srun``."""
    num_nodes: int
    per_node: int
    """Processes on each node."""


def launcher_world() -> LauncherWorld | None:
    """Return the processes that torchrun or srun has started; None for a process that was started by itself.

    A task of srun that is alone is such a process too: it may start further ones, as on a machine without Slurm.

    Raises:
        AeframeError: The nodes have different numbers of processes, or Lightning lacks a variable.
    """
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        return _world("torchrun", int(environment["WORLD_SIZE"]), int(environment.get("GROUP_WORLD_SIZE", 1)))
    num_tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    # A batch script has the variables of its job, but not those of a step.
    if "SLURM_STEP_ID" not in environment or num_tasks == 1:
        return None
    world = _world("srun", num_tasks, int(environment.get("SLURM_STEP_NUM_NODES", 1)))
    if "SLURM_NTASKS_PER_NODE" not in environment:
        raise AeframeError(
            f"srun started {num_tasks} tasks without --ntasks-per-node, which Lightning requires; start them by "
            f"srun --nodes={world.num_nodes} --ntasks-per-node={world.per_node}"
        )
    return world


def _world(launcher: str, num_processes: int, num_nodes: int) -> LauncherWorld:
    if num_processes % num_nodes:
        raise AeframeError(
            f"{launcher} started {num_processes} processes on {num_nodes} nodes, but a run needs equally many on each; "
            "start as many on each node as it has devices"
        )
    return LauncherWorld(launcher, num_nodes, num_processes // num_nodes)


def with_devices(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``trainer`` of a run's config with the numbers of devices and nodes: those of the launcher, or else 1.

    Raises:
        AeframeError: The settings name other numbers than the launcher has started.
    """
    world = launcher_world()
    devices, num_nodes = settings.get("devices"), settings.get("num_nodes")
    if world is None:
        return {**settings, "devices": 1 if devices is None else devices, "num_nodes": num_nodes or 1}
    given = world.per_node if devices in _ALL else len(devices) if isinstance(devices, list) else devices
    if (given, num_nodes or world.num_nodes) != (world.per_node, world.num_nodes):
        set_values = [f"trainer.{name}={settings[name]}" for name in ("devices", "num_nodes") if settings.get(name)]
        raise AeframeError(
            f"{world.launcher} started {world.num_nodes} x {world.per_node} processes (nodes x processes of a node), "
            f"but the config has {' '.join(set_values)}; leave trainer.devices and trainer.num_nodes out, or start as "
            "many processes as devices"
        )
    return {**settings, "devices": devices if isinstance(devices, list) else given, "num_nodes": world.num_nodes}


def num_devices(settings: Mapping[str, Any]) -> int:
    """Return the number of devices of this machine that a run uses, see `with_devices`; ``auto`` and -1 mean all."""
    devices = settings["devices"]
    if isinstance(devices, list):
        return len(devices)
    if devices not in ("auto", -1):
        return int(devices)
    if settings["accelerator"] in ("cpu", "mps"):
        return 1
    # Imported only where the answer depends on the machine.
    import torch

    return max(1, torch.cuda.device_count())


def cluster_environment() -> ClusterEnvironment | None:
    """Return Lightning's view of the launcher; None leaves it to Lightning.

    Lightning takes every process of a Slurm job for a task of srun. One that was started in a batch script or in a
    shell is alone, whatever the job's number of tasks.
    """
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    world = launcher_world()
    if world is not None and world.launcher == "srun":
        with warnings.catch_warnings():
            # In an interactive job Lightning advises to use srun, which has started this process.
            ignore_inapplicable_warnings()
            # Lightning derives the port from the job, but two steps of a job can run at the same time.
            os.environ.setdefault("MASTER_PORT", str(_port(os.environ["SLURM_JOB_ID"], os.environ["SLURM_STEP_ID"])))
            # Lightning's requeueing writes a checkpoint into the run folder, which `trainer.test` would restore later.
            return SLURMEnvironment(auto_requeue=False)
    if world is not None:
        return TorchElasticEnvironment()
    return LightningEnvironment() if "SLURM_JOB_ID" in os.environ else None


def _port(job: str, step: str) -> int:
    """Return the port at which the processes of a step of srun meet, below those that systems give out themselves."""
    return 15000 + (int(job) + 1000 * int(step)) % 10000
