"""Batches of sentences: padding, buckets of similar length, several devices, resumption."""

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


def buckets(max_tokens: int | None = None) -> BucketSource:
    return BucketSource(TOKENS, LENGTHS, width=20, max_tokens=max_tokens, **REST)  # type: ignore[arg-type]


def plan(source: BucketSource, *, rank: int = 0, world: int = 1) -> BatchPlan:
    return BatchPlan(len(source), 16, seed=3, shuffle=True, rank=rank, world=world, batch_indices=source.batch_indices)


def test_sentences_are_padded_to_one_width_or_to_the_longest() -> None:
    rows = torch.tensor([3, 0, 7])
    full = TextSource(TOKENS, LENGTHS, width=20, **REST).batch(rows)  # type: ignore[arg-type]
    trimmed = TextSource(TOKENS, LENGTHS, width=20, trim=True, **REST).batch(rows)  # type: ignore[arg-type]
    longest = int(LENGTHS[rows].max())
    assert full.x.shape == (3, 20)
    assert trimmed.x.shape == (3, longest)
    assert full.mask is not None
    assert trimmed.mask is not None
    assert full.index is not None
    assert torch.equal(full.x[:, :longest], trimmed.x)
    assert torch.equal(full.mask[:, :longest], trimmed.mask)
    assert not full.x[~full.mask].any()
    assert full.x.dtype == torch.long
    start = int(LENGTHS[:3].sum())
    assert full.x[0, : LENGTHS[3]].tolist() == list(range(5 + start, 5 + start + int(LENGTHS[3])))
    assert full.index.tolist() == [6, 0, 14]


@pytest.mark.parametrize("max_tokens", [None, 100])
def test_an_epoch_of_buckets(max_tokens: int | None) -> None:
    source = buckets(max_tokens)
    made = plan(source)
    first, second = (list(made.batches(epoch)) for epoch in (0, 1))
    assert len(made) == len(first) == len(second)
    assert made.num_rows == 203
    for epoch in (first, second):
        assert torch.cat(epoch).sort().values.tolist() == list(range(203))
    assert any(not torch.equal(one, other) for one, other in zip(first, second, strict=True))
    # An epoch is reproducible.
    assert all(torch.equal(one, other) for one, other in zip(first, made.batches(0), strict=True))
    for rows in first:
        lengths = LENGTHS[rows]
        if max_tokens is None:
            assert len(rows) == 16 or len(rows) == 203 % 16
            assert lengths.max() - lengths.min() <= 4
        else:
            assert len(rows) * int(lengths.max()) <= max_tokens
    if max_tokens is not None:
        # All batches but one are nearly full.
        full = sorted(len(rows) * int(LENGTHS[rows].max()) for rows in first)
        assert full[1] > 60
    # Batches are not in order of length.
    longest = [int(LENGTHS[rows].max()) for rows in first]
    assert longest != sorted(longest)


@pytest.mark.parametrize("max_tokens", [None, 100])
def test_two_devices_divide_the_batches_of_one(max_tokens: int | None) -> None:
    source = buckets(max_tokens)
    shares = [list(plan(source, rank=rank, world=2).batches(4)) for rank in range(2)]
    for whole, *parts in zip(plan(source).batches(4), *shares, strict=True):
        assert torch.equal(torch.cat(parts), whole)
        # Both pad to the longest sentence of the whole batch, so that they draw equally many numbers for each token.
        assert {source.batch(part).x.shape[1] for part in parts} == {int(LENGTHS[whole].max())}


def test_a_resumed_epoch_starts_after_the_batches_already_used() -> None:
    def run(start: int, batches: int) -> list[Tensor]:
        source = buckets(100)
        loader = DataModule(Splits(source, source, source), batch_size=16, seed=3).train_dataloader()
        loader.load_state_dict({"epoch": 0, "batch": start})
        indices: list[Tensor] = []
        for batch in loader:
            assert isinstance(batch, Batch)
            assert batch.index is not None
            indices.append(batch.index)
            if len(indices) == batches:
                break
        return indices

    uninterrupted, resumed = run(0, 9), run(5, 4)
    assert all(torch.equal(one, other) for one, other in zip(uninterrupted[5:], resumed, strict=True))
