from __future__ import annotations

import pickle  # noqa: TID251 -- what a worker process that is spawned would be given

import pytest
import torch
from torch import Tensor

from aeframe.batch import Batch, Clock
from aeframe.data import TensorSource
from aeframe.data.loader import Loader
from aeframe.data.modality import Source
from aeframe.data.plan import BatchPlan


class Augmented:
    """A source that is not in memory and draws noise for what it loads, as augmentation does."""

    in_memory = False

    def __len__(self) -> int:
        return 30

    def batch(self, index: Tensor) -> Batch:
        return Batch(index[:, None] + torch.rand(len(index), 2), index=index)


def plain(length: int = 30) -> TensorSource:
    return TensorSource(torch.arange(length, dtype=torch.float32)[:, None])


def calls(loader: Loader) -> list[list[list[float]]]:
    return [[batch.x[:, 0].tolist() for batch in call] for call in loader if isinstance(call, list)]


def train(clock: Clock, *, steps_per_call: int = 1, source: Source | None = None, workers: int = 0) -> Loader:
    source = source or plain()
    plan = BatchPlan(len(source), 4, seed=5, shuffle=True)
    return Loader(source, plan, clock=clock, steps_per_call=steps_per_call, workers=workers)


def test_calls_hold_the_same_batches_whatever_their_number() -> None:
    one = [batch for call in calls(train(Clock())) for batch in call]
    loader = train(Clock(), steps_per_call=3)
    three = calls(loader)
    assert [len(call) for call in three] == [3, 3, 2]
    assert len(loader) == 3
    assert [batch for call in three for batch in call] == one


def test_each_epoch_has_an_order_of_its_own() -> None:
    clock = Clock()
    loader = train(clock)
    first = calls(loader)
    clock.epoch = 1
    assert calls(loader) != first
    clock.epoch = 0
    assert calls(loader) == first


def test_training_begins_where_the_clock_stands() -> None:
    whole = [batch for call in calls(train(Clock(epoch=2))) for batch in call]
    loader = train(Clock(batch=19, epoch=2, batch_in_epoch=3), steps_per_call=2)
    assert len(loader) == 3
    assert [batch for call in calls(loader) for batch in call] == whole[3:]


def test_the_clock_is_read_when_the_first_batch_is_asked_for() -> None:
    clock = Clock()
    loader = train(clock)
    made_early = iter(loader)
    clock.epoch, clock.batch_in_epoch = 1, 5
    early = [[b.x[:, 0].tolist() for b in call] for call in made_early if isinstance(call, list)]
    assert early == calls(train(Clock(epoch=1, batch_in_epoch=5)))


@pytest.mark.parametrize(("batch", "in_epoch", "left", "num_calls"), [(0, 0, 8, 3), (16, 0, 4, 2), (18, 2, 2, 1)])
def test_the_planned_end_may_fall_inside_an_epoch(batch: int, in_epoch: int, left: int, num_calls: int) -> None:
    clock = Clock(batch=batch, epoch=batch // 8, batch_in_epoch=in_epoch, planned=20)
    loader = train(clock, steps_per_call=3)
    assert len(loader) == num_calls
    assert sum(len(call) for call in calls(loader)) == left


def test_nothing_is_left_after_the_planned_end() -> None:
    loader = train(Clock(batch=20, epoch=2, batch_in_epoch=4, planned=20))
    assert len(loader) == 0
    assert calls(loader) == []


def test_evaluation_gives_plain_batches_in_order() -> None:
    loader = Loader(plain(5), BatchPlan(5, 2, seed=0, shuffle=False))
    batches = list(loader)
    assert len(loader) == 3
    assert all(isinstance(batch, Batch) for batch in batches)
    assert [b.index.tolist() for b in batches if isinstance(b, Batch) and b.index is not None] == [[0, 1], [2, 3], [4]]


def test_augmentation_is_a_function_of_the_place_in_the_run() -> None:
    first = calls(train(Clock(), source=Augmented()))
    torch.manual_seed(99)
    assert calls(train(Clock(), source=Augmented())) == first
    # After a resume in the middle of the epoch as well.
    assert calls(train(Clock(batch=3, batch_in_epoch=3), source=Augmented())) == first[3:]
    # Other draws in another batch, and in another epoch.
    later = calls(train(Clock(epoch=1), source=Augmented()))
    drawn = [round(value % 1, 5) for call in first + later for batch in call for value in batch]
    assert len(set(drawn)) > 0.9 * len(drawn)


def test_loading_leaves_the_runs_noise_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    calls(train(Clock(), source=Augmented()))
    assert torch.equal(torch.rand(3), expected)


def test_workers_give_the_same_batches_epoch_after_epoch() -> None:
    clock = Clock(planned=14)
    loader = train(clock, source=Augmented(), workers=2, steps_per_call=3)
    torch.manual_seed(7)
    first = calls(loader)
    drawn = torch.rand(3)
    assert first == calls(train(Clock(), source=Augmented(), steps_per_call=3))
    # An iterator left in its middle does not disturb the next one.
    next(iter(loader))
    clock.batch, clock.epoch = 8, 1
    assert calls(loader) == calls(train(Clock(batch=8, epoch=1, planned=14), source=Augmented(), steps_per_call=3))
    torch.manual_seed(7)
    assert torch.equal(torch.rand(3), drawn)


def test_data_in_memory_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeframe.data.loader.DataLoader", None)
    assert len(calls(train(Clock(), workers=4))) == 8


def test_what_a_spawned_worker_needs_can_be_sent_to_it() -> None:
    loader = train(Clock(), source=Augmented())
    sent = pickle.loads(pickle.dumps(loader._rows))
    request = next(iter(loader._requests))
    assert torch.equal(sent[request].x, loader._rows[request].x)
