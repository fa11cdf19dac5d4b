"""Signals that end a run: one way for all of them. Imports nothing heavy."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)


class Interrupted(BaseException):
    """A signal ended the run; `sentence` says what was kept. Not an `Exception`: nothing should recover from it."""

    def __init__(self, number: int, sentence: str | None = None) -> None:
        super().__init__(number, sentence)
        self.number = number
        self.sentence = sentence

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as a shell reports it."""
        return 128 + self.number

    def __str__(self) -> str:
        return self.sentence or f"ended by {signal.Signals(self.number).name}"


class SignalGuard:
    """Turn the signals that end a run into `Interrupted`, inside a ``with`` block.

    The exception is raised where the program stands, or, while `deferring`, the first signal is only noted in
    `received`, so that a batch can be finished and a checkpoint written; a second one is raised at once. Handlers are
    put back on leaving. Outside of the main thread nothing is changed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._deferring = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> SignalGuard:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None is a handler that was not installed from Python: it cannot be put back by name.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def install(self) -> None:
        """Install the handlers again, after a library has installed its own; nothing outside the ``with`` block."""
        for number in self._before:
            # A program started by nohup ignores SIGHUP, and goes on doing so.
            if self._before[number] is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    @contextmanager
    def deferring(self) -> Iterator[None]:
        """Note the first signal inside instead of raising it."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._deferring and self.received is None:
            self.received = number
            return
        raise Interrupted(number)
