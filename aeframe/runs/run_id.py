"""The id of a run: the same in all its processes, and after a requeue."""

from __future__ import annotations

import functools
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "AEFRAME_RUN_ID"
_named: Counter[str] = Counter()


def make_run_id() -> str:
    """Return the id of this command: from the environment, the queue, or the time.

    In a Slurm or torchelastic job it is the job's id, on every node and after a requeue. Otherwise it is the time of
    the first call with the process id, so that two commands started in the same second differ.
    """
    if known := os.environ.get(VARIABLE):
        return known
    queue = os.environ.get("SLURM_JOB_ID") or os.environ.get("TORCHELASTIC_RUN_ID")
    # torchrun's id is "none" by default.
    return _own_id() if queue is None or queue == "none" else queue


@functools.cache
def _own_id() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


@contextmanager
def exported_run_id() -> Iterator[str]:
    """Keep the id in the environment inside, where relaunched processes of the run read it."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = made = make_run_id()
    try:
        yield made
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def run_id(job_num: int | None = None) -> str:
    """Return the name of the next run of this process; call it once for each run.

    A point of a sweep adds its number, ``20250101-120000-321-7``. The second run of one Python session is
    ``20250101-120000-321.2``: the relaunched processes of a run count in the same order, so they agree.
    """
    name = make_run_id() if job_num is None else f"{make_run_id()}-{job_num}"
    _named[name] += 1
    return name if _named[name] == 1 else f"{name}.{_named[name]}"
