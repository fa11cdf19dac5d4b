"""A run that is killed at any moment, and continued, is the run that was not: every bit, row and file."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable

import pytest

from tests.chaos.children import start
from tests.chaos.conftest import RUNS, Undisturbed

pytestmark = pytest.mark.slow

EVERY = int(os.environ.get("AEFRAME_CHAOS_EVERY", "11"))
"""Of the operations on files, every so many is tried: 1 tries them all."""
RANDOM_KILLS = int(os.environ.get("AEFRAME_CHAOS_RANDOM", "3"))


@pytest.mark.parametrize("name", RUNS)
def test_a_kill_at_any_operation_on_a_file_changes_nothing(
    name: str, undisturbed: Callable[[str], Undisturbed]
) -> None:
    whole = undisturbed(name)
    assert whole.num_operations > 30
    # The last ones, where the model is saved, and a first one that moves with the name, so that all are tried.
    first = 1 + sum(map(ord, name)) % EVERY
    for operation in sorted({*range(first, whole.num_operations, EVERY), whole.num_operations}):
        run = whole.kill_at(operation)
        whole.check_recovery(run)
        shutil.rmtree(run)


@pytest.mark.parametrize("name", RUNS)
def test_a_kill_at_a_random_moment_changes_nothing(name: str, undisturbed: Callable[[str], Undisturbed]) -> None:
    whole, chance = undisturbed(name), random.Random(name)
    for number in range(RANDOM_KILLS):
        run = whole.folder / f"random-{number}"
        child = start([*whole.words, f"folder={run}"], whole.folder)
        while not run.is_dir():
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 1.0))
        os.kill(child.pid, 9)
        assert child.wait() in (-9, 0)
        whole.check_recovery(run)
        shutil.rmtree(run)


def test_a_second_kill_while_resuming_changes_nothing(undisturbed: Callable[[str], Undisturbed]) -> None:
    whole = undisturbed("aae")
    run = whole.kill_at(whole.num_operations // 2)
    child = start([f"resume={run}"], whole.folder)
    time.sleep(0.5)
    os.kill(child.pid, 9)
    child.wait()
    whole.check_recovery(run)
