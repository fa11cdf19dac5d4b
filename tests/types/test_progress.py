"""Training progress in batches."""

from __future__ import annotations

from aeframe.types import TrainingProgress


def test_advance_counts_one_batch() -> None:
    progress = TrainingProgress(planned=4)
    progress.advance()
    assert (progress.batch, progress.batch_in_epoch, progress.epoch) == (1, 1, 0)
    assert progress.fraction == 0.25


def test_the_fraction_ends_at_one_and_is_zero_while_the_plan_is_unknown() -> None:
    assert TrainingProgress(batch=9, planned=4).fraction == 1.0
    assert TrainingProgress(batch=9).fraction == 0.0


def test_a_loaded_state_keeps_the_plan_of_the_present_run() -> None:
    state = TrainingProgress(batch=7, epoch=2, batch_in_epoch=1, planned=10).state_dict()
    assert state == {"batch": 7, "epoch": 2, "batch_in_epoch": 1, "planned": 10, "rows": 0}
    progress = TrainingProgress(planned=20)
    progress.load_state_dict(state)
    assert progress == TrainingProgress(batch=7, epoch=2, batch_in_epoch=1, planned=20)
