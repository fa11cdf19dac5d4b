"""A run that is killed at any time and resumed has the same files, bit by bit, as an uninterrupted one."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable

import pytest

from tests.chaos.children import start
from tests.chaos.conftest import RUNS, Uninterrupted

pytestmark = pytest.mark.slow

EVERY = int(os.environ.get("AEFRAME_CHAOS_EVERY", "11"))
"""Stride of the operations on files that are tried; 1 tries all of them."""
RANDOM_KILLS = int(os.environ.get("AEFRAME_CHAOS_RANDOM", "3"))


@pytest.mark.parametrize("name", RUNS)
def test_a_kill_at_any_operation_on_a_file_does_not_change_the_result(
    name: str, uninterrupted: Callable[[str], Uninterrupted]
) -> None:
    whole = uninterrupted(name)
    assert whole.num_operations > 30
    # The last operations save the model. The first one depends on the name, so that different ones are tried.
    first = 1 + sum(map(ord, name)) % EVERY
    for operation in sorted({*range(first, whole.num_operations, EVERY), whole.num_operations}):
        run = whole.kill_at(operation)
        whole.check_recovery(run)
        shutil.rmtree(run)


@pytest.mark.parametrize("name", RUNS)
def test_a_kill_at_a_random_time_does_not_change_the_result(
    name: str, uninterrupted: Callable[[str], Uninterrupted]
) -> None:
    whole, chance = uninterrupted(name), random.Random(name)
    for number in range(RANDOM_KILLS):
        run = whole.folder / f"random-{number}"
        child = start([*whole.overrides, f"folder={run}"], whole.folder)
        while not run.is_dir():
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 1.0))
        os.kill(child.pid, 9)
        assert child.wait() in (-9, 0)
        whole.check_recovery(run)
        shutil.rmtree(run)


def test_a_second_kill_while_resuming_does_not_change_the_result(uninterrupted: Callable[[str], Uninterrupted]) -> None:
    whole = uninterrupted("aae")
    run = whole.kill_at(whole.num_operations // 2)
    child = start([f"resume={run}"], whole.folder)
    time.sleep(0.5)
    os.kill(child.pid, 9)
    child.wait()
    whole.check_recovery(run)
