"""The id of a run: the same in all processes of a run on several devices, and after a queue restarts the job."""

from __future__ import annotations

import functools
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "AEFRAME_RUN_ID"
"""The environment variable through which the other processes of a command receive its id."""
_num_runs: Counter[str] = Counter()
"""Runs of this process by name, without the suffix of repeated names."""


def in_queue() -> bool:
    """Return whether this process belongs to a Slurm job or was started by torchrun, which may start it again."""
    return "SLURM_JOB_ID" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ


def make_run_id() -> str:
    """Return the id of this command, from the environment, the job of a queue, or the time.

    An id that another process exported is used first. In a Slurm job it is the id of the job, ``4711``, or ``4711_3``
    for a task of an array. Under torchrun it is the name of ``--rdzv-id``. Both are the same on every node and after a
    restart. Otherwise it is the time of the first call, followed by what distinguishes commands of the same second: the
    process id; under torchrun that of its agent, or the beginning of the random id of ``--standalone``.
    """
    if exported := os.environ.get(VARIABLE):
        return exported
    if job_id := slurm_job():
        return job_id
    launch = _unnamed_launch()
    elastic_id = os.environ.get("TORCHELASTIC_RUN_ID")
    return elastic_id if elastic_id is not None and launch is None else f"{_time()}-{launch or os.getpid()}"


def slurm_job() -> str | None:
    """Return the id of the Slurm job: ``4711``, or ``4711_3`` for a task of an array; None outside of Slurm."""
    environment = os.environ
    if "SLURM_ARRAY_JOB_ID" in environment and "SLURM_ARRAY_TASK_ID" in environment:
        return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment.get("SLURM_JOB_ID")


def _unnamed_launch() -> str | None:
    """Return a word for this launch of torchrun, if it was not named by ``--rdzv-id``; the same after a restart."""
    elastic_id = os.environ.get("TORCHELASTIC_RUN_ID")
    if elastic_id is None:
        return None
    if elastic_id == "none":
        # The default. The processes of one node are children of one agent, which outlives their restarts.
        return str(os.getppid())
    try:
        return uuid.UUID(elastic_id).hex[:8]
    except ValueError:
        return None


def name_before_restart(root: Path, name: str) -> str:
    """Return the name with which an earlier start of this launch of torchrun made its folder in `root`.

    It has another time in it. Without a restart, or without such a folder, it is `name` itself.
    """
    launch = _unnamed_launch()
    if launch is None or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0" or not name.startswith(_time()):
        return name
    same = sorted(root.glob(f"????????-??????{name.removeprefix(_time())}"))
    return same[-1].name if same else name


@functools.cache
def _time() -> str:
    return time.strftime("%Y%m%d-%H%M%S")


@contextmanager
def exported_run_id() -> Iterator[str]:
    """Export the id of this command to the environment inside, for the other processes of a run on several devices."""
    previous = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = command_id = make_run_id()
    try:
        yield command_id
    finally:
        if previous is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = previous


def run_id(job_num: int | None = None) -> str:
    """Return the name of the next run of this process; call it once for each run.

    The number of a run in a sweep is appended: ``20250101-120000-321-7``. The second run of one Python session is named
    ``20250101-120000-321.2``. Every process of a run on several devices counts the same runs, so their names are equal.
    """
    name = make_run_id() if job_num is None else f"{make_run_id()}-{job_num}"
    _num_runs[name] += 1
    return name if _num_runs[name] == 1 else f"{name}.{_num_runs[name]}"
