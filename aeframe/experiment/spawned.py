"""``trainer.strategy=ddp_spawn``: train a run in processes that this one starts, by the engine behind torchrun."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError
from aeframe.experiment.finished_run import Run
from aeframe.experiment.objects import RunObjects
from aeframe.interruption import Interrupted, SignalGuard
from aeframe.model_store.reader import load
from aeframe.runs.folder import RunFolder
from aeframe.training.launchers import launcher_world, num_devices, with_devices

_SHUTDOWN_SECONDS = 60
"""How long processes may take to write their checkpoint after a signal."""


@dataclass(frozen=True, slots=True)
class _Task:
    """The arguments of `aeframe.experiment.workflow.train`."""

    config: dict[str, Any]
    overrides: list[str]
    objects: RunObjects
    hidden_options: list[str]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the first process sends back: the metrics of a finished run, or the error of the user."""

    metrics: dict[str, float]
    monitored: float = float("nan")
    error: str = ""


def is_spawned(trainer: Mapping[str, Any]) -> bool:
    """Return whether this process has to start those of the run."""
    if trainer["strategy"] != "ddp_spawn" or launcher_world() is not None:
        return False
    settings = with_devices(trainer)
    if settings["num_nodes"] > 1:
        raise AeframeError(
            f"trainer.strategy=ddp_spawn starts processes on this machine only, found trainer.num_nodes="
            f"{settings['num_nodes']}; set trainer.strategy=ddp, and start the command on each machine by torchrun"
        )
    return num_devices(settings) > 1


def train_spawned(
    folder: RunFolder,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    objects: RunObjects,
    hidden_options: Sequence[str],
) -> Run:
    """Start a process for each device, train the run in them, and open its model.

    The program need not be one that can be started again, as with ``ddp``: a point of a sweep, or a cell of a notebook
    whose objects come from modules.

    Raises:
        AeframeError: An object cannot be sent to another process, or the error with which the run ended.
        Interrupted: A signal ended the run, after its checkpoint was written.
    """
    task = _Task({**config, "folder": str(folder.path)}, list(overrides), objects, list(hidden_options))
    try:
        ForkingPickler.dumps(task)
    except Exception as error:
        raise AeframeError(
            f"trainer.strategy=ddp_spawn sends all objects of the run to other processes, and one cannot be sent "
            f"({type(error).__name__}: {error}); define its class or function in a module, or set trainer.strategy=ddp"
        ) from error
    # The engine would ask the name service for this machine's name.
    local = "127.0.0.1"
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_devices(with_devices(config["trainer"])),
        run_id=folder.path.name,
        rdzv_backend="c10d",
        rdzv_endpoint=f"{local}:0",
        local_addr=local,
        max_restarts=0,
        start_method="spawn",
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        outcome: _Outcome = elastic_launch(launch, _train)(task)[0]
    except SignalException as error:
        raise Interrupted(int(error.sigval)) from error
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise AeframeError(
            f"rank {rank} of {launch.nproc_per_node} ended the run with exit code {failure.exitcode}; its messages "
            "above say why, or its machine has too little memory"
        ) from error
    finally:
        for number, handler in handlers.items():
            # None is a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if outcome.error:
        raise AeframeError(outcome.error)
    return Run(folder.path, outcome.metrics, outcome.monitored, load(folder.path, **dict(objects.modules)))


def _train(task: _Task) -> _Outcome:
    """Train the run in one of its processes; end the process after a signal or a programming error."""
    from aeframe.experiment.workflow import train

    first = os.environ["RANK"] == "0"
    try:
        with SignalGuard(), user_errors():
            run = train(task.config, overrides=task.overrides, objects=task.objects, hidden_options=task.hidden_options)
    except AeframeError as error:
        return _Outcome({}, error=str(error))
    except Interrupted as interruption:
        if first:
            print(interruption, file=sys.stderr)
        sys.exit(interruption.exit_code)
    except Exception:
        traceback.print_exc()
        raise
    return _Outcome(dict(run.metrics), run.monitored)
