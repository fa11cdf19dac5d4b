"""The loader: the same batches however they are grouped, loaded and resumed."""

from __future__ import annotations

import pickle  # noqa: TID251 -- what is sent to a worker process that is spawned

import pytest
import torch
from torch import Tensor

from aeframe.data import TensorSource
from aeframe.data.loader import Loader
from aeframe.data.modality import Source
from aeframe.data.plan import BatchPlan
from aeframe.types import Batch


class Augmented:
    """A source that is not in memory and draws noise for what it loads, as augmentation does."""

    in_memory = False

    def __len__(self) -> int:
        return 30

    def batch(self, index: Tensor) -> Batch:
        return Batch(index[:, None] + torch.rand(len(index), 2), index=index)


def plain(length: int = 30) -> TensorSource:
    return TensorSource(torch.arange(length, dtype=torch.float32)[:, None])


def items(loader: Loader) -> list[list[list[float]]]:
    """Return the samples of every batch of every item; an item of one batch counts as a list of one."""
    yielded = [item if isinstance(item, list) else [item] for item in loader]
    return [[batch.x[:, 0].tolist() for batch in item] for item in yielded]


def batches(loader: Loader) -> list[list[float]]:
    return [batch for item in items(loader) for batch in item]


def train(
    *, epoch: int = 0, start: int = 0, batches_per_item: int = 1, source: Source | None = None, workers: int = 0
) -> Loader:
    """Return a loader of eight batches an epoch, placed after `start` batches of `epoch`."""
    source = source or plain()
    plan = BatchPlan(len(source), 4, seed=5, shuffle=True)
    loader = Loader(source, plan, batches_per_item=batches_per_item, workers=workers)
    loader.sampler.set_epoch(epoch)
    if start:
        loader.load_state_dict({"epoch": epoch, "batch": start})
    return loader


# -- items -----------------------------------------------------------------------------------------------------------


def test_items_hold_the_same_batches_whatever_their_number() -> None:
    loader = train(batches_per_item=3)
    yielded = items(loader)
    assert [len(item) for item in yielded] == [3, 3, 2]
    assert len(loader) == 3
    assert [batch for item in yielded for batch in item] == batches(train())


def test_one_batch_an_item_is_no_list() -> None:
    assert all(isinstance(item, Batch) for item in train())
    assert len(train()) == 8


def test_evaluation_yields_plain_batches_in_order() -> None:
    loader = Loader(plain(5), BatchPlan(5, 2, seed=0, shuffle=False))
    yielded = list(loader)
    assert len(loader) == 3
    assert all(isinstance(batch, Batch) for batch in yielded)
    assert [b.index.tolist() for b in yielded if isinstance(b, Batch) and b.index is not None] == [[0, 1], [2, 3], [4]]


def test_an_epoch_of_evaluation_is_always_the_same() -> None:
    loader = Loader(plain(5), BatchPlan(5, 2, seed=0, shuffle=False))
    first = batches(loader)
    loader.sampler.set_epoch(3)
    assert batches(loader) == first


# -- epochs ------------------------------------------------------------------------------------------------------------


def test_each_epoch_has_a_different_order() -> None:
    loader = train()
    first = batches(loader)
    assert sorted(value for batch in first for value in batch) == [float(row) for row in range(30)]
    loader.sampler.set_epoch(1)
    assert batches(loader) != first
    loader.sampler.set_epoch(0)
    assert batches(loader) == first


def test_every_epoch_may_have_the_order_of_the_first() -> None:
    loader = train()
    loader.sampler.same_order = True
    first = batches(loader)
    loader.sampler.set_epoch(1)
    assert batches(loader) == first == batches(train())


def test_the_epoch_is_read_at_the_first_batch() -> None:
    loader = train()
    iterator = iter(loader)
    loader.sampler.set_epoch(1)
    assert [batch.x[:, 0].tolist() for batch in iterator if isinstance(batch, Batch)] == batches(train(epoch=1))


# -- resume ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches_per_item", [1, 2, 3, 8])
@pytest.mark.parametrize("start", range(9))
def test_a_resumed_epoch_starts_after_the_batches_that_were_yielded(start: int, batches_per_item: int) -> None:
    full_epoch = items(train(epoch=2, batches_per_item=batches_per_item))
    loader = train(epoch=2, start=start, batches_per_item=batches_per_item)
    yielded = items(loader)
    assert [batch for item in yielded for batch in item] == batches(train(epoch=2))[start:]
    # Batches are grouped as without the resume.
    ends = [min(end, 8) for end in range(batches_per_item, 8 + batches_per_item, batches_per_item)]
    assert [item[-1] for item in yielded] == [
        item[-1] for item, end in zip(full_epoch, ends, strict=True) if end > start
    ]
    # A later epoch starts at its beginning.
    loader.sampler.set_epoch(3)
    assert items(loader) == items(train(epoch=3, batches_per_item=batches_per_item))


def test_a_second_iteration_over_an_epoch_starts_at_its_beginning() -> None:
    loader = train(epoch=2, start=5)
    assert batches(loader) == batches(train(epoch=2))[5:]
    assert batches(loader) == batches(train(epoch=2))


def test_a_position_in_another_epoch_is_ignored() -> None:
    loader = train(epoch=1)
    loader.load_state_dict({"epoch": 0, "batch": 5})
    assert batches(loader) == batches(train(epoch=1))


@pytest.mark.parametrize("batches_per_item", [1, 3])
def test_the_state_counts_the_batches_that_were_yielded(batches_per_item: int) -> None:
    loader = train(epoch=2, batches_per_item=batches_per_item)
    yielded = [loader.state_dict() for _ in loader]
    ends = [3, 6, 8] if batches_per_item == 3 else list(range(1, 9))
    assert yielded == [{"epoch": 2, "batch": end} for end in ends]
    resumed = train(batches_per_item=2)
    resumed.sampler.set_epoch(2)
    resumed.load_state_dict(yielded[0])
    assert resumed.state_dict() == yielded[0], "before a batch is taken, too"
    assert batches(resumed) == batches(train(epoch=2))[ends[0] :]


def test_the_length_is_that_of_a_full_epoch() -> None:
    # Lightning counts calls from the start of the epoch, wherever it resumes.
    assert len(train(start=5, batches_per_item=3)) == 3


# -- noise -------------------------------------------------------------------------------------------------------------


def test_augmentation_is_a_function_of_the_position() -> None:
    first = batches(train(source=Augmented()))
    torch.manual_seed(99)
    assert batches(train(source=Augmented())) == first
    # After a resume in the middle of the epoch as well.
    assert batches(train(start=3, source=Augmented())) == first[3:]
    # Other draws in another batch, and in another epoch.
    later = batches(train(epoch=1, source=Augmented()))
    drawn = [round(value % 1, 5) for batch in first + later for value in batch]
    assert len(set(drawn)) > 0.9 * len(drawn)


def test_loading_does_not_advance_the_default_generator() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    batches(train(source=Augmented()))
    assert torch.equal(torch.rand(3), expected)


# -- worker processes --------------------------------------------------------------------------------------------------


def test_workers_load_the_same_batches_in_every_epoch() -> None:
    loader = train(source=Augmented(), workers=2, batches_per_item=3)
    torch.manual_seed(7)
    first = items(loader)
    drawn = torch.rand(3)
    assert first == items(train(source=Augmented(), batches_per_item=3))
    # An abandoned iterator does not affect the next one.
    next(iter(loader))
    loader.sampler.set_epoch(1)
    assert items(loader) == items(train(epoch=1, source=Augmented(), batches_per_item=3))
    # Nor does a resume.
    loader.load_state_dict({"epoch": 1, "batch": 4})
    assert batches(loader) == batches(train(epoch=1, source=Augmented()))[4:]
    torch.manual_seed(7)
    assert torch.equal(torch.rand(3), drawn)


def test_data_in_memory_need_no_worker_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeframe.data.loader.DataLoader", None)
    assert len(batches(train(workers=4))) == 8


def test_a_dataset_can_be_sent_to_a_spawned_worker() -> None:
    loader = train(source=Augmented())
    sent = pickle.loads(pickle.dumps(loader._dataset))
    index = next(iter(loader.sampler))
    assert torch.equal(sent[index].x, loader._dataset[index].x)
