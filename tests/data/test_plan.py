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
    batch_size = world * draw(st.integers(2, 9))
    return draw(st.integers(batch_size, 120)), batch_size, world


@settings(max_examples=60, deadline=None)
@given(training(), st.integers(0, 3))
def test_each_training_batch_is_divided_equally(case: tuple[int, int, int], epoch: int) -> None:
    length, batch_size, world = case
    parts_of = [
        rows_of(BatchPlan(length, batch_size, seed=3, shuffle=True, rank=rank, world=world), epoch)
        for rank in range(world)
    ]
    single_device = rows_of(BatchPlan(length, batch_size, seed=3, shuffle=True), epoch)
    plan = BatchPlan(length, batch_size, seed=3, shuffle=True, world=world)
    used: list[int] = []
    for number, parts in enumerate(zip(*parts_of, strict=True)):
        assert len({len(part) for part in parts}) == 1
        assert len(parts[0]) >= 2
        joined = [row for part in parts for row in part]
        # A single device has the same rows; only a short last batch may lose those that cannot be divided.
        assert joined == single_device[number][: len(joined)]
        assert len(joined) == batch_size or number == len(plan) - 1
        used += joined
    assert len(used) == len(set(used)) == plan.num_rows
    assert length - plan.num_rows < 2 * world
    assert len(parts_of[0]) == len(plan)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 100))
def test_each_row_is_evaluated_once(world: int, batch_size: int, length: int) -> None:
    length = max(length, world)
    plans = [BatchPlan(length, batch_size, seed=0, shuffle=False, rank=rank, world=world) for rank in range(world)]
    parts_of = [rows_of(plan) for plan in plans]
    assert sorted(row for device in parts_of for part in device for row in part) == list(range(length))
    assert {len(device) for device in parts_of} == {len(plans[0])}
    for parts in zip(*parts_of, strict=True):
        sizes = [len(part) for part in parts]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1


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
    # On two devices 5 remaining rows are divided as 2 + 2, and 3 are dropped.
    assert [len(rows) for rows in BatchPlan(13, 8, seed=0, shuffle=True, world=2).batches(0)] == [4, 2]
    assert [len(rows) for rows in BatchPlan(11, 8, seed=0, shuffle=True, world=2).batches(0)] == [4]


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
            100, 33, 2,
            "batch_size=33 counts the samples of all devices and cannot be divided equally by 2; set batch_size=32",
        ),
        (
            100, 1, 1,
            "batch_size=1 is one sample for each of 1 device, and training needs at least two; "
            "set batch_size=2 or more",
        ),
        (
            100, 4, 4,
            "batch_size=4 is one sample for each of 4 devices, and training needs at least two; "
            "set batch_size=8 or more",
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
        (10**6, 1, 64),
        (1000, 3, 63),
        (8, 2, 4),
    ],
)
def test_a_batch_size_that_is_not_set_fits_the_data(length: int, world: int, batch_size: int) -> None:
    assert default_batch_size(length, world) == batch_size
    assert len(BatchPlan(length, batch_size, seed=0, shuffle=True, world=world)) >= 1
