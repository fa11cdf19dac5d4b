from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.data.plan import BatchPlan, default_batch_size
from aeframe.errors import AeframeError


def rows_of(plan: BatchPlan, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [rows.tolist() for rows in plan.batches(epoch, start)]


@st.composite
def training(draw: st.DrawFn) -> tuple[int, int, int]:
    world = draw(st.integers(1, 4))
    batch_size = 2 * world + draw(st.integers(0, 20))
    return draw(st.integers(batch_size, 120)), batch_size, world


@settings(max_examples=60, deadline=None)
@given(training(), st.integers(0, 3))
def test_devices_divide_the_training_batches_of_one(case: tuple[int, int, int], epoch: int) -> None:
    length, batch_size, world = case
    plans = [BatchPlan(length, batch_size, seed=3, shuffle=True, rank=rank, world=world) for rank in range(world)]
    single_device = rows_of(BatchPlan(length, batch_size, seed=3, shuffle=True), epoch)
    assert {len(plan) for plan in plans} == {len(single_device)}
    assert length - plans[0].num_rows <= 1
    for batch, *parts in zip(single_device, *(rows_of(plan, epoch) for plan in plans), strict=True):
        shares = [plan.local_rows(len(batch)) for plan in plans]
        own = [part for part, share in zip(parts, shares, strict=True) if not share.are_repeated]
        assert [row for part in own for row in part] == batch
        assert max(map(len, own)) - min(map(len, own)) <= 1
        assert min(map(len, parts)) >= 2
        # A device without rows of its own repeats the first ones, with a weight of 0.
        for part, share in zip(parts, shares, strict=True):
            assert share.weight == (0 if share.are_repeated else world * len(part) / len(batch))
            assert part == batch[share.start : share.stop]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 100))
def test_each_row_is_evaluated_once(world: int, batch_size: int, length: int) -> None:
    length = max(length, world)
    plans = [BatchPlan(length, batch_size, seed=0, shuffle=False, rank=rank, world=world) for rank in range(world)]
    parts_of = [rows_of(plan) for plan in plans]
    assert {len(device) for device in parts_of} == {len(plans[0])}
    evaluated = []
    for parts in zip(*parts_of, strict=True):
        first = len(evaluated)
        total = min(plans[0].batch_size, length - first)
        shares = [plan.local_rows(total) for plan in plans]
        own = [part for part, share in zip(parts, shares, strict=True) if not share.are_repeated]
        evaluated += [row for part in own for row in part]
        assert max(map(len, own)) - min(map(len, own)) <= 1
        assert {tuple(part) for part in parts[len(own) :]} <= {(first,)}
        # In the first batch every device has rows of its own.
        assert first or len(own) == world
    assert evaluated == list(range(length))


def test_evaluation_is_in_order_on_one_device() -> None:
    assert rows_of(BatchPlan(5, 2, seed=9, shuffle=False)) == [[0, 1], [2, 3], [4]]
    assert rows_of(BatchPlan(3, 100, seed=9, shuffle=False)) == [[0, 1, 2]]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    plan = BatchPlan(50, 8, seed=1, shuffle=True)
    torch.manual_seed(0)
    first = rows_of(plan, 4)
    torch.manual_seed(123)
    assert rows_of(plan, 4) == first
    assert rows_of(plan, 5) != first
    assert rows_of(BatchPlan(50, 8, seed=2, shuffle=True), 4) != first
    assert rows_of(plan, 4, start=3) == first[3:]


def test_shuffling_does_not_advance_the_default_generator() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    next(BatchPlan(50, 8, seed=1, shuffle=True).batches(0))
    assert torch.equal(torch.rand(3), expected)


def test_a_last_training_batch_of_one_is_dropped_and_a_longer_one_is_kept() -> None:
    assert [len(rows) for rows in BatchPlan(9, 4, seed=0, shuffle=True).batches(0)] == [4, 4]
    assert [len(rows) for rows in BatchPlan(10, 4, seed=0, shuffle=True).batches(0)] == [4, 4, 2]
    # Two devices divide 5 rows; of 3, one device has all, since two rows are the least, and the other repeats two.
    for length, sizes in ((13, [[4, 2], [4, 3]]), (11, [[4, 3], [4, 2]])):
        plans = [BatchPlan(length, 8, seed=0, shuffle=True, rank=rank, world=2) for rank in range(2)]
        assert [[len(rows) for rows in plan.batches(0)] for plan in plans] == sizes


@pytest.mark.parametrize(
    ("length", "batch_size", "world", "message"),
    [
        (0, 8, 1, "training needs at least two samples, found no samples; add data"),
        (1, 8, 1, "training needs at least two samples, found one sample; add data"),
        (3, 8, 2, "training needs at least two samples on each of 2 devices, found 3 samples; add data"),
        (
            100, 128, 1,
            "batch_size=128 is larger than the 100 training samples; set batch_size=100 or less",
        ),
        (
            100, 1, 1,
            "batch_size=1 counts the samples of all devices, and training needs at least two; set batch_size=2 or more",
        ),
        (
            100, 4, 4,
            "batch_size=4 counts the samples of all devices, and training needs at least two on each of 4 devices; set "
            "batch_size=8 or more",
        ),
        (100, 0, 1, "batch_size counts samples and must be at least 1, found 0"),
    ],
)  # fmt: skip
def test_errors_of_training(length: int, batch_size: int, world: int, message: str) -> None:
    with pytest.raises(AeframeError) as refused:
        BatchPlan(length, batch_size, seed=0, shuffle=True, world=world)
    assert str(refused.value) == message


def test_evaluation_needs_a_row_for_each_device() -> None:
    with pytest.raises(AeframeError) as refused:
        BatchPlan(1, 8, seed=0, shuffle=False, world=2)
    assert str(refused.value) == "2 devices cannot share an evaluation split of one sample; use 1 or fewer"


def test_a_source_may_choose_the_training_order_of_each_epoch() -> None:
    def in_pairs() -> torch.Tensor:
        return torch.randperm(5).repeat_interleave(2) * 2 + torch.tensor([0, 1] * 5)

    plan = BatchPlan(10, 4, seed=3, shuffle=True, epoch_permutation=in_pairs)
    first, again, second = (torch.cat(list(plan.batches(epoch))) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert sorted(first.tolist()) == list(range(10))
    # Pairs are adjacent.
    assert torch.equal(first[0::2] + 1, first[1::2])
    held_out = BatchPlan(10, 4, seed=3, shuffle=False, epoch_permutation=in_pairs)
    assert torch.cat(list(held_out.batches(0))).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("length", "world", "batch_size"),
    [
        (2, 1, 2),
        (3, 1, 2),
        (24, 1, 8),
        (50, 1, 16),
        (127, 1, 32),
        (128, 1, 64),
        (255_999, 1, 64),
        (256_000, 1, 128),
        (10**6, 1, 256),
        (10**8, 1, 1024),
        (1000, 3, 64),
        (8, 2, 4),
    ],
)
def test_a_batch_size_that_is_not_set_fits_the_data(length: int, world: int, batch_size: int) -> None:
    assert default_batch_size(length, world) == batch_size
    assert len(BatchPlan(length, batch_size, seed=0, shuffle=True, world=world)) >= 1


@pytest.mark.parametrize(
    ("length", "world", "preferred", "size"),
    [
        (800, 1, 500, 500),
        (500, 1, 500, 500),
        (499, 1, 500, 499),
        (10, 1, 500, 10),
        (10, 8, 500, 16),
        (800, 1, None, 64),
    ],
)
def test_the_batch_size_of_a_recipe_is_at_most_the_number_of_samples(
    length: int, world: int, preferred: int | None, size: int
) -> None:
    assert default_batch_size(length, world, preferred) == size
