"""Batches: selecting, moving and pairing samples."""

from __future__ import annotations

import torch

from aeframe.types import Batch


def full_batch() -> Batch:
    return Batch(
        torch.arange(12.0).reshape(4, 3),
        mask=torch.ones(4, 3, dtype=torch.bool),
        condition=torch.arange(8.0).reshape(4, 2),
        index=torch.arange(4),
        extras={"label": torch.tensor([3, 2, 1, 0])},
    )


def test_rows_selects_from_every_tensor() -> None:
    selected = full_batch().rows(torch.tensor([2, 0]))
    assert len(selected) == 2
    assert selected.x.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert selected.mask is not None
    assert selected.mask.shape == (2, 3)
    assert selected.condition is not None
    assert selected.condition.tolist() == [[4, 5], [0, 1]]
    assert selected.index is not None
    assert selected.index.tolist() == [2, 0]
    assert selected.extras["label"].tolist() == [1, 3]
    assert full_batch().rows(slice(1, 3)).extras["label"].tolist() == [2, 1]


def test_rows_of_a_batch_with_x_alone() -> None:
    selected = Batch(torch.zeros(4, 3)).rows(slice(0, 2))
    assert (selected.mask, selected.condition, selected.index, selected.extras) == (None, None, None, {})


def test_map_changes_every_tensor_of_a_new_batch() -> None:
    batch = full_batch()
    mapped = batch.map(lambda t: t[:1])
    assert mapped.mask is not None
    assert mapped.condition is not None
    assert mapped.index is not None
    assert [len(t) for t in (mapped.x, mapped.mask, mapped.condition, mapped.index, mapped.extras["label"])] == [1] * 5
    assert len(batch) == 4


def test_to_moves_every_tensor_or_returns_the_same_batch() -> None:
    batch = full_batch()
    assert batch.to(torch.device("cpu")) is batch
    moved = batch.to(torch.device("meta"))
    assert moved.mask is not None
    assert moved.condition is not None
    assert moved.index is not None
    tensors = [moved.x, moved.mask, moved.condition, moved.index, moved.extras["label"]]
    assert {t.device.type for t in tensors} == {"meta"}


def test_with_x_changes_x_alone() -> None:
    batch, x = full_batch(), torch.zeros(4, 3)
    changed = batch.with_x(x)
    assert changed.x is x
    assert changed.mask is batch.mask
    assert changed.extras is batch.extras
    assert batch.x is not x


def test_masked_x_is_zero_where_the_mask_is_false() -> None:
    x = torch.tensor([[[1.0, 2.0], [torch.nan, 4.0]]])
    batch = Batch(x, mask=torch.tensor([[[True, True], [False, True]]]))
    assert batch.masked_x().tolist() == [[[1, 2], [0, 4]]]
    by_row = Batch(x, mask=torch.tensor([[True, False]]))
    assert by_row.masked_x().tolist() == [[[1, 2], [0, 0]]]
    assert Batch(x).masked_x() is x


def test_a_pair_keeps_every_tensor_of_the_partner() -> None:
    first, second = full_batch(), full_batch().rows(slice(None, None)).with_x(torch.ones(4, 3))
    second.extras["library"] = torch.arange(4.0)
    partner = first.paired(second).partner()
    assert partner is not None
    assert partner.x is second.x
    assert partner.mask is second.mask
    assert partner.condition is second.condition
    assert partner.extras == {"label": second.extras["label"], "library": second.extras["library"]}
    assert first.partner() is None


def test_a_partner_without_a_condition_has_that_of_the_first_sample() -> None:
    first = full_batch()
    partner = first.paired(Batch(torch.ones(4, 3))).partner()
    assert partner is not None
    assert partner.condition is first.condition
    assert partner.mask is None
