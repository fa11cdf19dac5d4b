"""The id of a run: the same in all processes of a run on several devices, and after a queue restarts the job."""

from __future__ import annotations

import functools
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "AEFRAME_RUN_ID"
"""The environment variable through which the other processes of a command receive its id."""
_num_runs: Counter[str] = Counter()
"""Runs of this process by name, without the suffix of repeated names."""


def make_run_id() -> str:
    """Return the id of this command, from the environment, the job of a queue, or the time.

    An id that another process exported is used first. In a Slurm or torchelastic job it is the job's id, which is the
    same on every node and after the queue restarts the job. Otherwise it is the time of
    the first call followed by the process id, so that two commands started in the same second differ.
    """
    if exported := os.environ.get(VARIABLE):
        return exported
    job_id = os.environ.get("SLURM_JOB_ID") or os.environ.get("TORCHELASTIC_RUN_ID")
    # torchrun's id is "none" by default.
    return _time_and_process() if job_id is None or job_id == "none" else job_id


@functools.cache
def _time_and_process() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


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
