"""Schedules, compared with values computed by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.schedules import Constant, Schedule, fixed, length_in_batches
from aeframe.registry import registry
from aeframe.types import TrainingProgress


def at(schedule: Schedule, *batches: int, planned: int = 100) -> list[float]:
    return [schedule(TrainingProgress(batch=batch, planned=planned)) for batch in batches]


def make(name: str, **options: Any) -> Schedule:
    schedule: Schedule = build("schedule", {"name": name, **options})
    return schedule


def test_constant() -> None:
    assert at(fixed(0.3), 0, 50, 100, 500) == [0.3] * 4
    assert fixed(0.3).plain() == 0.3  # type: ignore[attr-defined]


def test_linear_is_from_start_to_end_over_the_run() -> None:
    assert at(make("linear"), 0, 25, 100, 150) == [0.0, 0.25, 1.0, 1.0]
    assert at(make("linear", start=2.0, end=1.0, over=0.5), 0, 25, 50, 99) == [2.0, 1.5, 1.0, 1.0]


def test_a_delay_and_a_length_above_one_are_batches() -> None:
    assert at(make("linear", over=10, delay=20), 0, 20, 25, 30, 99) == [0.0, 0.0, 0.5, 1.0, 1.0]
    # The length of the run has no influence.
    assert at(make("linear", over=10, delay=20), 25, planned=10_000) == [0.5]
    assert at(make("linear", over=0.1, delay=0.2), 25) == [0.5]


def test_a_ramp_of_length_zero_is_a_step_at_its_delay() -> None:
    assert at(make("linear", over=0, delay=30), 0, 29, 30, 99) == [0.0, 0.0, 1.0, 1.0]


def test_cosine() -> None:
    quarter = 0.5 * (1 - math.cos(math.pi / 4))
    assert at(make("cosine"), 0, 25, 50, 75, 100) == pytest.approx([0.0, quarter, 0.5, 1 - quarter, 1.0])


def test_cyclical_rises_in_each_cycle() -> None:
    schedule = make("cyclical", cycles=4, ratio=0.5, end=2.0)
    # Each cycle has 24 of 96 batches: 12 rising, 12 at end.
    assert at(schedule, 0, 6, 12, 23, 24, 30, planned=96) == pytest.approx([0.0, 1.0, 2.0, 2.0, 0.0, 1.0])
    assert at(schedule, 96, 97, planned=96) == [2.0, 2.0]
    curved = make("cyclical", cycles=1, ratio=1.0, shape="cosine")
    assert at(curved, 25, 50) == pytest.approx([0.5 * (1 - math.cos(math.pi / 4)), 0.5])


def test_logistic_reaches_start_and_end() -> None:
    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    # At a quarter the argument is -2.5; the curve from -5 to 5 is rescaled to [0, 1].
    quarter = (sigmoid(-2.5) - sigmoid(-5)) / (sigmoid(5) - sigmoid(-5))
    assert at(make("logistic"), 0, 25, 50, 75, 100, 120) == pytest.approx([0, quarter, 0.5, 1 - quarter, 1, 1])
    assert at(make("logistic", start=2, end=1, over=10, delay=20), 20, 25, 30) == pytest.approx([2.0, 1.5, 1.0])
    # A small steepness is nearly linear, a large one nearly a step.
    assert at(make("logistic", steepness=1e-4), 25) == pytest.approx([0.25])
    assert at(make("logistic", steepness=1e4), 49, 50, 51) == pytest.approx([0.0, 0.5, 1.0])
    with pytest.raises(AeframeError) as error:
        make("logistic", steepness=0)
    assert str(error.value) == "logistic needs steepness above 0, found 0.0"


def test_exponential_has_a_constant_factor() -> None:
    assert at(make("exponential"), 0, 50, 100, 150) == pytest.approx([1.0, 0.1, 0.01, 0.01])
    values = at(make("exponential", start=-2, end=-8, over=10, delay=20), *range(18, 33))
    assert values[:3] == pytest.approx([-2.0] * 3)
    assert values[-3:] == pytest.approx([-8.0] * 3)
    assert [after / before for before, after in itertools.pairwise(values[2:13])] == pytest.approx([4**0.1] * 10)
    assert at(make("exponential", start=3, end=3), 0, 40, 100) == [3.0] * 3


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0), (-1.0, 2.0)])
def test_exponential_with_a_change_of_sign_is_an_error(ends: tuple[float, float]) -> None:
    with pytest.raises(AeframeError) as error:
        make("exponential", start=ends[0], end=ends[1])
    assert str(error.value) == (
        f"exponential needs start and end of the same sign, other than 0, found {ends[0]} and {ends[1]}"
    )


def test_step_multiplies_after_each_length() -> None:
    schedule = make("step", value=1.0, factor=0.5, at=[0.5, 80])
    assert at(schedule, 0, 49, 50, 79, 80, 100) == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_warmup_rises_and_falls() -> None:
    schedule = make("warmup", peak=1.0, end=0.2, warmup=10)
    assert at(schedule, 0, 4, 10, 55, 100, 120) == pytest.approx([1 / 11, 5 / 11, 1.0, 0.6, 0.2, 0.2])
    # The first batch has a rate above 0; warmup 0 starts at the peak.
    assert at(make("warmup", peak=1.0, warmup=0.0), 0) == [1.0]


@settings(deadline=None)
@given(
    start=st.floats(-5, 5),
    end=st.floats(-5, 5),
    batch=st.integers(0, 400),
    planned=st.integers(1, 300),
    over=st.one_of(st.floats(0, 1), st.integers(2, 300)),
    name=st.sampled_from(["linear", "cosine", "logistic"]),
)
def test_a_ramp_is_between_start_and_end(
    start: float, end: float, batch: int, planned: int, over: float, name: str
) -> None:
    (value,) = at(make(name, start=start, end=end, over=over), batch, planned=planned)
    assert min(start, end) - 1e-9 <= value <= max(start, end) + 1e-9


@pytest.mark.parametrize("name", registry().names("schedule"))
def test_a_schedule_is_a_function_of_progress_alone(name: str) -> None:
    required = {"constant": {"value": 2.0}, "step": {"value": 2.0}, "warmup": {"peak": 2.0}}.get(name, {})
    schedule = make(name, **required)
    forwards = at(schedule, *range(0, 101, 10))
    assert at(schedule, *range(100, -1, -10)) == forwards[::-1]
    assert at(make(name, **required), *range(0, 101, 10)) == forwards
    assert all(math.isfinite(value) for value in forwards)


def test_from_config_of_a_number_a_name_and_a_mapping() -> None:
    number = Schedule.from_config(2, build)
    assert isinstance(number, Constant)
    assert number.value == 2.0
    assert at(Schedule.from_config("linear", build), 50) == [0.5]
    assert at(Schedule.from_config({"name": "linear", "end": 4}, build), 50) == [2.0]


@pytest.mark.parametrize(
    ("value", "found"), [(True, "True"), (None, "None"), ([1], "[1]")], ids=["a truth", "nothing", "a list"]
)
def test_from_config_of_other_values_is_an_error(value: Any, found: str) -> None:
    with pytest.raises(AeframeError) as error:
        Schedule.from_config(value, build)
    assert str(error.value) == f"expected a number or a schedule such as {{name: linear, end: 1.0}}, found {found}"


def test_a_length_is_a_fraction_or_batches() -> None:
    progress = TrainingProgress(planned=200)
    assert [length_in_batches(over, progress) for over in (0, 0.25, 1, 1.5, 50)] == [0, 50, 200, 1.5, 50]
    with pytest.raises(AeframeError) as error:
        length_in_batches(-0.1, progress)
    assert str(error.value) == "a length must be a fraction of the run in [0, 1] or a number of batches, found -0.1"


@pytest.mark.parametrize(
    ("name", "options", "share"),
    [
        ("linear", {}, "1"),
        ("cosine", {"over": 10, "delay": 0.5}, "0.5"),
        ("logistic", {}, "1"),
        ("exponential", {}, "1"),
        ("cyclical", {}, "1"),
        ("step", {"value": 1.0, "at": [0.25]}, "0.25"),
        ("warmup", {"peak": 1.0}, "0.05"),
        ("warmup", {"peak": 1.0, "warmup": 2}, "1"),
    ],
)
def test_a_fraction_of_a_run_of_unknown_length_is_an_error(name: str, options: dict[str, Any], share: str) -> None:
    with pytest.raises(AeframeError) as error:
        at(make(name, **options), 3, planned=0)
    assert str(error.value) == (
        f"a schedule has the length {share} of the run, but the length of the run is unknown; set max_epochs or "
        "max_batches, or write the schedule in batches"
    )


def test_lengths_in_batches_need_no_known_run_length() -> None:
    assert at(make("linear", over=10, delay=5), 0, 10, 20, planned=0) == [0.0, 0.5, 1.0]
    assert at(make("exponential", end=0.25, over=2), 0, 1, 2, planned=0) == pytest.approx([1.0, 0.5, 0.25])
    assert at(make("step", value=1.0, at=[3]), 2, 3, planned=0) == pytest.approx([1.0, 0.1])
    assert at(fixed(0.3), 7, planned=0) == [0.3]


@pytest.mark.parametrize("options", [{"cycles": 0}, {"ratio": 0.0}, {"ratio": 1.5}])
def test_error_messages_of_cyclical(options: dict[str, float]) -> None:
    with pytest.raises(AeframeError) as error:
        make("cyclical", **options)
    cycles, ratio = options.get("cycles", 4), options.get("ratio", 0.5)
    assert str(error.value) == f"cyclical needs cycles >= 1 and ratio in (0, 1], found {cycles} and {ratio}"
