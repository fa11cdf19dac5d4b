"""Batches: padded, of like lengths, the same for one device and for several."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aeframe.data.datamodule import DataModule
from aeframe.data.modality import Splits
from aeframe.data.plan import BatchPlan
from aeframe.types import Batch
from aeframe_text.source import BucketSource, TextSource

LENGTHS = torch.randint(1, 21, (203,), generator=torch.Generator().manual_seed(0))
TOKENS = torch.arange(5, 5 + int(LENGTHS.sum()), dtype=torch.int32)
REST = {"extras": {"words": LENGTHS}, "index": torch.arange(203) * 2}


def buckets(budget: int | None = None) -> BucketSource:
    return BucketSource(TOKENS, LENGTHS, width=20, budget=budget, **REST)  # type: ignore[arg-type]


def plan(source: BucketSource, *, rank: int = 0, world: int = 1) -> BatchPlan:
    return BatchPlan(len(source), 16, seed=3, shuffle=True, rank=rank, world=world, batch_indices=source.batch_indices)


def test_sentences_are_padded_to_one_width_or_to_the_longest() -> None:
    rows = torch.tensor([3, 0, 7])
    whole = TextSource(TOKENS, LENGTHS, width=20, **REST).batch(rows)  # type: ignore[arg-type]
    trimmed = TextSource(TOKENS, LENGTHS, width=20, trim=True, **REST).batch(rows)  # type: ignore[arg-type]
    longest = int(LENGTHS[rows].max())
    assert whole.x.shape == (3, 20)
    assert trimmed.x.shape == (3, longest)
    assert whole.mask is not None
    assert trimmed.mask is not None
    assert whole.index is not None
    assert torch.equal(whole.x[:, :longest], trimmed.x)
    assert torch.equal(whole.mask[:, :longest], trimmed.mask)
    assert not whole.x[~whole.mask].any()
    assert whole.x.dtype == torch.long
    start = int(LENGTHS[:3].sum())
    assert whole.x[0, : LENGTHS[3]].tolist() == list(range(5 + start, 5 + start + int(LENGTHS[3])))
    assert whole.index.tolist() == [6, 0, 14]


@pytest.mark.parametrize("budget", [None, 100])
def test_an_epoch_of_buckets(budget: int | None) -> None:
    source = buckets(budget)
    made = plan(source)
    first, second = (list(made.batches(epoch)) for epoch in (0, 1))
    assert len(made) == len(first) == len(second)
    assert made.num_rows == 203
    for epoch in (first, second):
        assert torch.cat(epoch).sort().values.tolist() == list(range(203))
    assert any(not torch.equal(one, other) for one, other in zip(first, second, strict=True))
    # The same epoch is the same again.
    assert all(torch.equal(one, other) for one, other in zip(first, made.batches(0), strict=True))
    for rows in first:
        lengths = LENGTHS[rows]
        if budget is None:
            assert len(rows) == 16 or len(rows) == 203 % 16
            assert lengths.max() - lengths.min() <= 4
        else:
            assert len(rows) * int(lengths.max()) <= budget
    if budget is not None:
        # As full as can be: one more sentence would be too many, but for the last.
        full = sorted(len(rows) * int(LENGTHS[rows].max()) for rows in first)
        assert full[1] > 60
    # They do not come from short to long.
    longest = [int(LENGTHS[rows].max()) for rows in first]
    assert longest != sorted(longest)


@pytest.mark.parametrize("budget", [None, 100])
def test_two_devices_see_the_batches_of_one(budget: int | None) -> None:
    source = buckets(budget)
    shares = [list(plan(source, rank=rank, world=2).batches(4)) for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) == len(plan(source, world=2))
    for one, other in zip(*shares, strict=True):
        assert len(one) == len(other) > 0
    seen = torch.cat([torch.cat(share) for share in shares])
    assert len(seen.unique()) == len(seen) >= 200
    # With batches of an even number nothing depends on how many devices there are, but for one odd row.
    alone = [set(rows.tolist()) for rows in plan(source).batches(4)]
    both = [set(torch.cat(pair).tolist()) for pair in zip(*shares, strict=True)]
    assert all(any(pair <= batch for batch in alone) for pair in both)
    assert sum(map(len, alone)) - sum(map(len, both)) <= 1


def test_a_resumed_epoch_starts_after_the_batches_that_were_taken() -> None:
    def run(start: int, batches: int) -> list[Tensor]:
        source = buckets(100)
        loader = DataModule(Splits(source, source, source), batch_size=16, seed=3).train_dataloader()
        loader.load_state_dict({"epoch": 0, "batch": start})
        found: list[Tensor] = []
        for batch in loader:
            assert isinstance(batch, Batch)
            assert batch.index is not None
            found.append(batch.index)
            if len(found) == batches:
                break
        return found

    whole, later = run(0, 9), run(5, 4)
    assert all(torch.equal(one, other) for one, other in zip(whole[5:], later, strict=True))
