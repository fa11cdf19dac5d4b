"""What a run does after a signal ended it: put its Slurm job back into the queue, and say how it is continued."""

from __future__ import annotations

import os
import signal
import subprocess

from aeframe.interruption import Interrupted
from aeframe.runs.folder import RunFolder
from aeframe.runs.run_id import in_queue, slurm_job

_REQUEUES = getattr(signal, "SIGUSR1", None)
"""The signal before a time limit (``sbatch --signal=USR1@60``). Preempted jobs get SIGTERM; Slurm requeues them."""
_SECONDS_OF_SCONTROL = 30


def ended(interruption: Interrupted, folder: RunFolder, batch: int | None, *, is_first: bool) -> Interrupted:
    """Return the interruption of a run with its message: its newest checkpoint, and how the run is continued.

    After SIGUSR1 in a Slurm job, the first process of the run puts the job back into the queue.

    Args:
        interruption: What the signal raised.
        folder: The run folder.
        batch: The number of training batches at the checkpoint that was written last, if one was.
        is_first: Whether this is the first process of the run.
    """
    run = f"{interruption}: run '{folder.path}'"
    kept = "has no checkpoint yet"
    if folder.has_checkpoint():
        kept = f"keeps its newest checkpoint{'' if batch is None else f' at batch {batch}'}"
    if interruption.number == _REQUEUES and is_first and (job := slurm_job()) is not None:
        reason = _requeue(job)
        how = f"job {job} was requeued and continues it" if reason is None else f"job {job} was not requeued ({reason})"
        next_step = "" if reason is None else f"; continue with aeframe-train resume={folder.path}"
        return Interrupted(interruption.number, f"{run} {kept}; {how}{next_step}")
    if not folder.has_checkpoint():
        return Interrupted(interruption.number, f"{run} {kept}; run the command again")
    command = "the same command in this job, or with " if in_queue() else ""
    return Interrupted(
        interruption.number,
        f"{run} {kept}; continue with {command}aeframe-train resume={folder.path}, or save the best model so far with "
        f"aeframe finish {folder.path}",
    )


def _requeue(job: str) -> str | None:
    """Put a Slurm job back into the queue; return why that failed, or None."""
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job],
            capture_output=True, text=True, check=False, timeout=_SECONDS_OF_SCONTROL, env=dict(os.environ),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"scontrol: {getattr(error, 'strerror', None) or 'no answer'}"
    if done.returncode == 0:
        return None
    return " ".join(done.stderr.split()) or f"scontrol returned {done.returncode}"
