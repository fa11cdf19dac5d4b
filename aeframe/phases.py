"""Where the time of a run goes: seconds of its phases, such as training, validation and pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

OTHER = "other"
"""Time outside of every phase."""


class Phases:
    """Seconds of each phase, in the order in which they began.

    The time of a phase inside another one counts for the inner one only, so all of them together are the whole time.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._stack: list[str] = []
        self._since = clock()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside for the phase `name`."""
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def begin(self, name: str) -> None:
        """Begin a phase inside the current one."""
        self._count()
        self.seconds.setdefault(name, 0.0)
        self._stack.append(name)

    def end(self, name: str) -> None:
        """End a phase, and those inside of it that an error has left open; nothing if it has not begun."""
        if name in self._stack:
            self._count()
            while self._stack.pop() != name:
                pass

    def add(self, name: str, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def total(self) -> dict[str, float]:
        """Return the seconds of each phase up to now, with those outside of every phase as `OTHER`."""
        self._count()
        named = {name: seconds for name, seconds in self.seconds.items() if name != OTHER}
        return {**named, OTHER: self.seconds.get(OTHER, 0.0)}

    def _count(self) -> None:
        now = self._clock()
        self.add(self._stack[-1] if self._stack else OTHER, now - self._since)
        self._since = now


_CURRENT: ContextVar[Phases | None] = ContextVar("aeframe_phases", default=None)


@contextmanager
def measured() -> Iterator[Phases]:
    """Measure the phases of what runs inside; inside another `measured`, go on with that one."""
    if (outer := current()) is not None:
        yield outer
        return
    phases = Phases()
    token = _CURRENT.set(phases)
    try:
        yield phases
    finally:
        _CURRENT.reset(token)


def current() -> Phases | None:
    """Return the phases that are being measured, None outside of `measured`."""
    return _CURRENT.get()


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Count the time inside for a phase of the run; outside of `measured` it does nothing."""
    phases = current()
    if phases is None:
        yield
    else:
        with phases.phase(name):
            yield


def process_age() -> float | None:
    """Return the seconds since this process began, None where the system does not tell (outside of Linux)."""
    try:
        # The name of the program may contain spaces and parentheses.
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (AttributeError, IndexError, OSError, ValueError):
        return None
