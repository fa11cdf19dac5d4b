"""What a run is called: one name for all its processes, also after it was requeued."""

from __future__ import annotations

import os
import time
from collections import Counter

VARIABLE = "AEFRAME_RUN_ID"
_named: Counter[str] = Counter()


def make_run_id() -> str:
    """Return the id of this command, made on first use and kept in the environment, where relaunched processes find it.

    A job of Slurm or torchelastic keeps the id it has there, on every node and when it is requeued; otherwise the id
    is the time, with the process's number so that two commands of one second differ.
    """
    if not os.environ.get(VARIABLE):
        queue = os.environ.get("SLURM_JOB_ID") or os.environ.get("TORCHELASTIC_RUN_ID")
        # torchrun calls every run "none" unless it is told otherwise.
        known = queue is not None and queue != "none"
        os.environ[VARIABLE] = str(queue) if known else f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    return os.environ[VARIABLE]


def run_id(job_num: int | None = None) -> str:
    """Return the name of one more run of this process: call it once for each run.

    A point of a sweep adds its number, ``20250101-120000-321-7``. The second run of one Python session is
    ``20250101-120000-321.2``: the relaunched processes of a run count in the same order, so they agree.
    """
    name = make_run_id() if job_num is None else f"{make_run_id()}-{job_num}"
    _named[name] += 1
    return name if _named[name] == 1 else f"{name}.{_named[name]}"
