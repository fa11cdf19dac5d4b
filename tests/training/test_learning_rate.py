"""Learning rates: a function of the training progress, and what torch's schedulers do on resume."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.schedules import Schedule
from aeframe.training.learning_rate import ScheduledLR
from aeframe.types import TrainingProgress


def make(progress: TrainingProgress, rate: object, num_groups: int = 1) -> ScheduledLR:
    parameters = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(num_groups)]
    return ScheduledLR(torch.optim.SGD(parameters, lr=0.5), Schedule.from_config(rate, build), progress)


def rates(scheduler: ScheduledLR) -> list[float]:
    return [group["lr"] for group in scheduler.optimizer.param_groups]


LINEAR = {"name": "linear", "start": 1.0, "end": 0.0}


def test_the_rate_is_that_of_the_progress_for_every_parameter_group() -> None:
    progress = TrainingProgress(planned=20)
    scheduler = make(progress, LINEAR, num_groups=2)
    assert rates(scheduler) == [1.0, 1.0]
    for batch, expected in ((5, 0.75), (20, 0.0), (3, 0.85)):
        progress.batch = batch
        scheduler.step()
        assert rates(scheduler) == pytest.approx([expected] * 2)
        assert scheduler.get_last_lr() == rates(scheduler)


def test_how_often_step_was_called_does_not_matter(recwarn: pytest.WarningsRecorder) -> None:
    progress = TrainingProgress(batch=5, planned=20)
    scheduler = make(progress, LINEAR)
    for _ in range(7):
        scheduler.step()
    assert rates(scheduler) == [0.75]
    # torch warns of a step of the scheduler before one of the optimizer, which is no error here.
    assert list(recwarn) == []


def test_before_the_length_is_known_the_rate_is_the_first() -> None:
    progress = TrainingProgress()
    scheduler = make(progress, LINEAR)
    scheduler.step()
    assert rates(scheduler) == [1.0]
    progress.planned, progress.batch = 20, 5
    scheduler.step()
    assert rates(scheduler) == [0.75]


def test_a_schedule_in_batches_needs_no_length_once_it_is_planned() -> None:
    progress = TrainingProgress(batch=3, planned=100)
    assert rates(make(progress, {**LINEAR, "over": 4})) == [0.25]


def test_a_run_without_an_end_follows_a_schedule_in_batches_and_refuses_one_in_fractions() -> None:
    progress = TrainingProgress()
    scheduler, fraction = make(progress, {**LINEAR, "over": 4}), make(progress, LINEAR)
    progress.batch = 3
    scheduler.step()
    assert rates(scheduler) == [0.25]
    with pytest.raises(
        AeframeError, match=r"^a schedule has the length 1 of the run, but the length of the run is unknown"
    ):
        fraction.step()


def test_the_state_is_the_current_rates_only() -> None:
    progress = TrainingProgress(batch=5, planned=20)
    scheduler = make(progress, LINEAR)
    assert scheduler.state_dict() == {"last_lr": [0.75]}
    other = make(TrainingProgress(planned=20), LINEAR)
    other.load_state_dict(scheduler.state_dict())
    assert other.get_last_lr() == [0.75]
    # The progress is restored elsewhere, and it alone sets the rate.
    other.step()
    assert other.get_last_lr() == rates(other) == [1.0]


def test_a_rate_that_is_no_number_is_refused() -> None:
    with pytest.raises(AeframeError, match=r"^expected a number or a schedule such as .*, found None$"):
        make(TrainingProgress(), None)
