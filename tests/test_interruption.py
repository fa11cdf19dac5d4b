"""Signals raise `Interrupted`, and previous handlers are restored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from aeframe.interruption import SIGNALS, Interrupted, SignalGuard


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in SIGNALS}


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def mine(number: int, frame: Any) -> None:
    raise AssertionError("the handler of the caller was called")


def test_signals_of_terminals_and_job_queues_are_handled() -> None:
    names = {signal.Signals(number).name for number in SIGNALS}
    assert names == {"SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"}


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: signal.Signals(number).name)
def test_a_signal_raises_immediately(number: int) -> None:
    with SignalGuard(), pytest.raises(Interrupted) as caught:
        send(number)
    assert caught.value.number == number
    assert caught.value.exit_code == 128 + number
    assert str(caught.value) == f"ended by {signal.Signals(number).name}"


def test_an_interruption_is_no_exception_and_may_have_a_message() -> None:
    ended = Interrupted(signal.SIGTERM, "the run keeps its checkpoint")
    assert not isinstance(ended, Exception)
    assert str(ended) == "the run keeps its checkpoint"


def test_handlers_are_restored() -> None:
    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    before = handlers()
    with SignalGuard():
        assert signal.getsignal(signal.SIGTERM) is not mine
    assert handlers() == before
    with pytest.raises(RuntimeError), SignalGuard():
        raise RuntimeError
    assert handlers() == before
    with pytest.raises(Interrupted), SignalGuard():
        send(signal.SIGINT)
    assert handlers() == before


def test_the_first_signal_is_deferred_and_the_second_raises() -> None:
    with SignalGuard() as guard, guard.deferring():
        send(signal.SIGTERM)
        assert guard.received == signal.SIGTERM
        with pytest.raises(Interrupted) as caught:
            send(signal.SIGINT)
        assert caught.value.number == signal.SIGINT
        assert guard.received == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_sigterm_after_a_warning_is_deferred_once(number: int) -> None:
    with SignalGuard() as guard, guard.deferring():
        send(number)
        send(signal.SIGTERM)
        assert guard.received == number
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)


def test_after_deferring_a_signal_raises() -> None:
    with SignalGuard() as guard:
        with guard.deferring():
            pass
        with pytest.raises(Interrupted):
            send(signal.SIGUSR2)
        assert guard.received is None


def test_an_error_ends_deferring() -> None:
    with SignalGuard() as guard:
        with pytest.raises(RuntimeError), guard.deferring():
            raise RuntimeError
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)


def test_handlers_of_a_library_are_replaced_when_installed_again() -> None:
    with SignalGuard() as guard, guard.deferring():
        signal.signal(signal.SIGTERM, mine)
        guard.install()
        send(signal.SIGTERM)
        assert guard.received == signal.SIGTERM


def test_outside_of_its_block_nothing_is_installed() -> None:
    before = handlers()
    guard = SignalGuard()
    guard.install()
    assert handlers() == before
    with guard:
        pass
    guard.install()
    assert handlers() == before


def test_an_ignored_hangup_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with SignalGuard() as guard:
        guard.install()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        send(signal.SIGHUP)
        assert guard.received is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_program_under_nohup_survives_a_hangup() -> None:
    program = (
        "import os, signal; from aeframe.interruption import SignalGuard\n"
        "with SignalGuard(): os.kill(os.getpid(), signal.SIGHUP); print('survived')"
    )
    done = subprocess.run(
        ["nohup", sys.executable, "-c", program], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.stdout == "survived\n", done.stderr


def test_in_another_thread_the_guard_does_nothing() -> None:
    before = handlers()
    found: list[Any] = []

    def enter() -> None:
        with SignalGuard() as guard:
            guard.install()
            found.append(handlers())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]
    assert handlers() == before


def test_nothing_heavy_is_imported() -> None:
    heavy = "('torch', 'lightning', 'hydra')"
    program = f"import sys, aeframe.interruption; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
