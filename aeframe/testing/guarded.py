"""Run attempts to read damaged input in a forked process, with limits on memory and time.

A reader may crash, hang or exhaust the memory; then the test must go on and report the attempt.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import torch

from aeframe.data.limits import MEMORY_VARIABLE
from aeframe.errors import AeframeError

Attempt = Callable[[int], tuple[str, Callable[[], object]]]
"""A function of the number of an attempt: returns the description of the input, and a function that reads it."""
EXTRA_BYTES = 3 << 29
"""Memory that the process may take on top of what it has at the fork."""
GIGABYTES = "0.5"
"""`AEFRAME_MAX_GB` in the process: a reader that checks sizes refuses what exceeds it."""
_MOST_FAULTS = 10


class _HangError(BaseException):
    """An attempt took too long; no `Exception`, so that readers do not convert it."""


def can_fork() -> bool:
    """Return whether this system can fork a process and limit its memory."""
    return hasattr(os, "fork") and sys.platform == "linux"


def faults_of(attempt: Attempt, num: int, folder: Path, *, seconds: float = 20.0) -> list[str]:
    """Return one text for each attempt that does not end in success or an `AeframeError`, at most 10.

    Args:
        attempt: Makes the input of one attempt, and returns how to read it.
        num: The number of attempts.
        folder: An existing folder for the log of the process.
        seconds: The time that one attempt may take.
    """
    faults: list[str] = []
    first = 0
    while first < num and len(faults) < _MOST_FAULTS:
        first = _run(attempt, range(first, num), folder / "attempts.log", seconds, faults)
    return faults


def _run(attempt: Attempt, numbers: range, log: Path, seconds: float, faults: list[str]) -> int:
    """Run attempts until the process ends; return the number of the attempt to continue with."""
    log.unlink(missing_ok=True)
    with warnings.catch_warnings():
        # Python warns of a fork with threads; the child uses none of the parent's.
        warnings.simplefilter("ignore")
        pid = os.fork()
    if not pid:
        _child(attempt, numbers, log, seconds)
    status, deadline, size = 0, time.monotonic() + 3 * seconds, -1
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if (now := log.stat().st_size if log.is_file() else 0) != size:
            size, deadline = now, time.monotonic() + 3 * seconds
        if time.monotonic() > deadline:
            # The signal of the alarm is not handled while code in C runs.
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    lines = log.read_text(encoding="utf-8", errors="replace").split("\0") if log.is_file() else []
    newest, what, stack = numbers.start, "before the first attempt", ""
    for line in lines:
        kind, _, text = line.partition(" ")
        if kind == "start":
            number, _, what = text.partition(" ")
            newest = int(number)
        elif kind == "fault":
            faults.append(f"attempt {newest}, {what}: {text}")
        elif kind == "end":
            return numbers.stop
        else:
            stack = line
    ended_by = os.waitstatus_to_exitcode(status)
    name = f"was killed by signal {-ended_by}" if ended_by < 0 else f"ended with code {ended_by}"
    faults.append(f"attempt {newest}, {what}: the process {name}\n{stack}".rstrip())
    return newest + 1


def _child(attempt: Attempt, numbers: range, log: Path, seconds: float) -> None:
    """Run attempts, and write what happens to the log; never return."""
    try:
        torch.set_num_threads(1)
        faulthandler.disable()
        # The garbage of the parent may own threads, which do not exist here and would be waited for.
        gc.freeze()
        quiet = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2):
            os.dup2(quiet, descriptor)
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 -- closed by the exit
        warnings.simplefilter("ignore")
        os.environ[MEMORY_VARIABLE] = GIGABYTES
        _limit_memory()
        signal.signal(signal.SIGALRM, _on_alarm)
        num_faults = 0
        with log.open("w", encoding="utf-8") as file:
            for number in numbers:
                what, read = attempt(number)
                file.write(f"start {number} {what}\0")
                file.flush()
                # Where it hangs in C code, where no alarm is handled.
                faulthandler.dump_traceback_later(2 * seconds, file=file)
                fault = _fault(read, seconds)
                faulthandler.cancel_dump_traceback_later()
                if fault:
                    file.write(f"fault {fault}\0")
                    num_faults += 1
                if num_faults >= _MOST_FAULTS:
                    break
            file.write("end \0")
    except BaseException:  # noqa: BLE001 -- the process must not return into the caller's tests
        with suppress(OSError), log.open("a", encoding="utf-8") as file:
            file.write(f"fault {traceback.format_exc()}\0end \0")
    finally:
        os._exit(0)


def _fault(read: Callable[[], object], seconds: float) -> str:
    """Return the traceback of a wrong outcome; empty for success and for an `AeframeError` in one line."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        read()
    except AeframeError as error:
        return f"its message has several lines: {error}" if "\n" in str(error) else ""
    except _HangError:
        return f"no end after {seconds:g} s\n{traceback.format_exc()}"
    except BaseException:  # noqa: BLE001 -- any other error is the fault that is searched for
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


def _on_alarm(number: int, frame: FrameType | None) -> None:
    raise _HangError


def _limit_memory() -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
