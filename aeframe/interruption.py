"""Turn the signals that end a run into one exception. Imports nothing heavy."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""The signals that end a run; Windows lacks some of them. Queues can send SIGUSR1 or SIGUSR2 before a time limit."""

_WARNINGS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))
"""The signals that announce a SIGTERM."""


_FORWARDING: ContextVar[SignalGuard | None] = ContextVar("aeframe_signal_guard", default=None)
"""The guard of the main thread, for the threads that it starts."""


class Interrupted(BaseException):
    """A signal ended the run.

    It is not a subclass of `Exception`, so that ``except Exception`` does not catch it.

    Args:
        number: The number of the signal.
        sentence: The message for the user, such as what was saved; by default the name of the signal.
    """

    def __init__(self, number: int, sentence: str | None = None) -> None:
        super().__init__(number, sentence)
        self.number = number
        self.sentence = sentence

    @property
    def exit_code(self) -> int:
        """128 + the number of the signal, as in a shell."""
        return 128 + self.number

    def __str__(self) -> str:
        return self.sentence or f"ended by {signal.Signals(self.number).name}"


class SignalGuard:
    """Turn the signals that end a run into `Interrupted`, inside a ``with`` block.

    A signal raises the exception immediately. Inside `deferring`, the first signal only sets `received`, so that the
    current batch can end and a checkpoint be written; the second signal raises. A queue sends SIGTERM after SIGUSR1 or
    SIGUSR2, so one SIGTERM after these does not raise. The previous handlers are restored at
    the end of the block. Outside the main thread, the guard does nothing, since Python handles signals there only.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        """The number of the deferred signal."""
        self._is_terminated = False
        self._deferring = False
        self._previous: dict[int, Any] = {}
        self._others: list[SignalGuard] = []

    def __enter__(self) -> SignalGuard:
        if (forwarding := _FORWARDING.get()) is not None:
            self.received = forwarding.received
            forwarding._others.append(self)
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in SIGNALS}
            self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            # None is a handler that was not installed from Python, which `signal.signal` cannot restore.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}

    def install(self) -> None:
        """Install the handlers again after a library replaced them; outside the ``with`` block, do nothing."""
        for number in self._previous:
            # A program started by nohup ignores SIGHUP, and must continue to.
            if self._previous[number] is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    @contextmanager
    def deferring(self) -> Iterator[None]:
        """Inside the block, set `received` at the first signal instead of raising."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    @contextmanager
    def forwarding(self) -> Iterator[None]:
        """Inside the block, a deferred signal also sets `received` of the guards that other threads enter."""
        token = _FORWARDING.set(self)
        try:
            yield
        finally:
            _FORWARDING.reset(token)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._deferring and self.received is None:
            for guard in (self, *self._others):
                guard.received = number
            return
        if self._deferring and self._is_first_sigterm_after_warning(number):
            # A queue that has announced the end sends SIGTERM at the end; the checkpoint may still be in the making.
            self._is_terminated = True
            return
        raise Interrupted(number)

    def _is_first_sigterm_after_warning(self, number: int) -> bool:
        return number == signal.SIGTERM and self.received in _WARNINGS and not self._is_terminated
