from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aeframe.data import TensorSource
from aeframe.errors import AeframeError
from aeframe.types import Batch


def source() -> TensorSource:
    return TensorSource(
        torch.arange(24, dtype=torch.uint8).reshape(6, 2, 2),
        mask=torch.arange(12).reshape(6, 2) % 2 == 0,
        condition=torch.eye(6),
        extras={"label": torch.arange(6) * 10},
        transform=lambda batch: batch.with_x(batch.x.float() / 10),
    )


def test_a_batch_is_a_gather_of_rows() -> None:
    batch = source().batch(torch.tensor([4, 0, 4]))
    assert batch.x.dtype == torch.float32
    assert torch.equal(batch.x[:, 0, 0], torch.tensor([1.6, 0.0, 1.6]))
    assert batch.mask is not None
    assert batch.mask.shape == (3, 2)
    assert batch.condition is not None
    assert batch.condition.argmax(1).tolist() == [4, 0, 4]
    assert batch.index is not None
    assert batch.index.tolist() == [4, 0, 4]
    assert batch.extras["label"].tolist() == [40, 0, 40]


def test_a_batch_is_a_copy() -> None:
    plain = TensorSource(torch.zeros(4, 2))
    plain.batch(torch.arange(4)).x.fill_(1)
    assert plain.batch(torch.arange(4)).x.sum() == 0


def test_rows_keep_their_index() -> None:
    some = source().rows(torch.tensor([5, 1, 3])).rows(torch.tensor([0, 2]))
    batch = some.batch(torch.arange(2))
    assert len(some) == 2
    assert batch.index is not None
    assert batch.index.tolist() == [5, 3]
    assert batch.x[:, 0, 0].tolist() == pytest.approx([2.0, 1.2])
    assert batch.extras["label"].tolist() == [50, 30]


def test_a_transform_may_replace_extras() -> None:
    def drop(batch: Batch) -> Batch:
        return replace(batch, extras={"twice": batch.extras["label"] * 2})

    made = TensorSource(torch.zeros(3, 1), extras={"label": torch.arange(3)}, transform=drop)
    assert made.batch(torch.tensor([2])).extras["twice"].tolist() == [4]


def test_lengths_must_agree() -> None:
    with pytest.raises(AeframeError) as refused:
        TensorSource(torch.zeros(3, 1), extras={"label": torch.arange(2)})
    assert str(refused.value) == "TensorSource has 3 rows of x but 2 of 'label'; pass one for each"
