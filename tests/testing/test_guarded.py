"""Attempts to read damaged input: which outcomes are faults, and mutations as functions of a seed."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.testing.guarded import can_fork, faults_of
from aeframe.testing.mutations import mutate, mutate_values

torch.set_num_threads(1)


def refuse() -> None:
    raise AeframeError("no")


def crash() -> None:
    ctypes.string_at(0)


def hide_the_alarm() -> None:
    try:
        time.sleep(30)
    except Exception as error:
        raise AeframeError("too slow") from error


OUTCOMES: dict[str, tuple[Callable[[], object], str]] = {
    "success": (lambda: 3, ""),
    "refusal": (refuse, ""),
    "programming error": (lambda: [][1], "IndexError: list index out of range"),
    "crash": (crash, "the process was killed by signal 11"),
    "hang": (lambda: time.sleep(30), "no end after 0.5 s"),
    "hang behind except": (hide_the_alarm, "no end after 0.5 s"),
    "memory": (lambda: bytearray(1 << 33), "MemoryError"),
    "exit": (lambda: exit(3), "SystemExit: 3"),
}


@pytest.mark.skipif(not can_fork(), reason="needs fork and limits of memory")
def test_every_outcome_but_success_and_refusal_is_a_fault(tmp_path: Path) -> None:
    names = list(OUTCOMES)
    faults = faults_of(lambda number: (names[number], OUTCOMES[names[number]][0]), len(names), tmp_path, seconds=0.5)
    expected = [(name, text) for name, (_, text) in OUTCOMES.items() if text]
    assert len(faults) == len(expected), faults
    for fault, (name, text) in zip(faults, expected, strict=True):
        assert fault.startswith(f"attempt {names.index(name)}, {name}: ")
        assert text in fault


class Waits:
    """An object in a cycle; the process in which it is freed hangs, as with a thread that exists in the parent only."""

    def __init__(self) -> None:
        self.cycle, self.process = self, os.getpid()

    def __del__(self) -> None:
        while os.getpid() != self.process:
            with suppress(BaseException):
                time.sleep(30)


@pytest.mark.skipif(not can_fork(), reason="needs fork and limits of memory")
def test_garbage_of_the_parent_is_not_freed_in_the_process_of_the_attempts(tmp_path: Path) -> None:
    gc.disable()
    try:
        Waits()
        assert not faults_of(lambda number: ("collection", gc.collect), 2, tmp_path, seconds=0.5)
    finally:
        gc.enable()


def hang_in_c() -> None:
    # A loop in C: no alarm is handled.
    sum(range(10**12))


@pytest.mark.skipif(not can_fork(), reason="needs fork and limits of memory")
def test_a_hang_in_c_says_where(tmp_path: Path) -> None:
    (fault,) = faults_of(lambda number: ("sleep", hang_in_c), 1, tmp_path, seconds=0.2)
    assert "the process was killed by signal 9" in fault
    assert "in hang_in_c" in fault


def test_mutations_are_functions_of_the_seed() -> None:
    content = bytes(range(256)) * 8 + b" 123 456 "
    changed = [mutate(content, seed) for seed in range(300)]
    assert changed == [mutate(content, seed) for seed in range(300)]
    assert sum(mutated != content for mutated, _ in changed) > 280
    assert len({what.partition(" ")[0] for _, what in changed}) > 5
    for seed in range(300):
        assert isinstance(mutate(b"x", seed)[0], bytes)


def test_mutations_of_values_leave_the_original() -> None:
    values = {"a": 1, "b": [1, {"c": "x"}], "d": {"e": None}}
    before = repr(values)
    changed = [mutate_values(values, seed) for seed in range(300)]
    assert repr(values) == before
    assert repr(changed) == repr([mutate_values(values, seed) for seed in range(300)])
    assert sum(repr(mutated) != before for mutated, _ in changed) > 280
