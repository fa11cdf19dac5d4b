"""Phases of a run: their seconds add up, and each moment counts once."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aeframe
from aeframe.phases import OTHER, Phases, current, measured, phase, process_age


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_inside_of_an_inner_phase_counts_for_that_one_only() -> None:
    clock = Clock()
    phases = Phases(clock)
    clock.now = 1.0
    with phases.phase("training"):
        clock.now = 3.0
        with phases.phase("validation"):
            clock.now = 7.0
            with phases.phase("checkpoints"):
                clock.now = 7.5
        clock.now = 8.0
        with phases.phase("validation"):
            clock.now = 10.0
    clock.now = 10.25
    phases.add("start", 2.0)
    expected = {"training": 2.5, "validation": 6.0, "checkpoints": 0.5, "start": 2.0, OTHER: 1.25}
    assert phases.total() == expected
    assert sum(expected.values()) == clock.now + 2.0


def test_a_phase_that_an_error_has_left_open_ends_with_the_one_around_it() -> None:
    clock = Clock()
    phases = Phases(clock)
    with suppress(KeyError), phases.phase("training"):
        phases.begin("validation")
        clock.now = 2.0
        raise KeyError
    clock.now = 3.0
    phases.end("validation")
    assert phases.total() == {"training": 0.0, "validation": 2.0, OTHER: 1.0}


def test_nothing_is_measured_without_a_measurement() -> None:
    def doubled(x: int) -> int:
        with phase("a call"):
            return 2 * x

    with phase("training"):
        assert doubled(2) == 4
    assert current() is None
    with measured() as outer:
        with measured() as inner:
            assert doubled(3) == 6
        assert inner is outer is current()
        assert "a call" in outer.total()
    assert current() is None


def test_the_age_of_a_process_grows() -> None:
    first = process_age()
    if first is None:
        pytest.skip("the age of a process is measured on Linux only")
    second = process_age()
    assert second is not None
    assert 0 < first <= second < 86400 * 7


def test_a_run_prints_and_stores_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    settings: dict[str, Any] = {"max_epochs": 2, "encoder": {"hidden": [4]}, "progress": False}
    run = aeframe.fit(x, profile=True, folder=str(tmp_path / "run"), **settings)
    seconds = json.loads((run.folder / "time.json").read_text(encoding="utf-8"))
    names = {
        "data",
        "training",
        "validation",
        "checkpoints",
        "test",
        "baseline",
        "sampler",
        "scores",
        "saving",
        "pictures",
        "comparison",
        "diagnosis",
    }
    assert names | {OTHER} == seconds.keys()
    assert all(value > 0 for value in seconds.values())
    printed = capsys.readouterr().err
    assert all(name in printed for name in names)
    other = aeframe.fit(x, folder=str(tmp_path / "other"), pictures=False, **settings)
    assert not (other.folder / "time.json").exists()
