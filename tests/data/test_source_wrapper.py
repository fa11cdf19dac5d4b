"""Wrapped sources keep their order and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.data import DataModule, Splits, TensorSource
from aeframe.data.labels import LabelConditioned
from aeframe.data.pairs import Paired
from aeframe.types import Batch

LABELS = torch.arange(12) % 3
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "labelled": lambda source: LabelConditioned(source, 3),
    "paired": Paired,
    "both": lambda source: Paired(LabelConditioned(source, 3)),
}


class Reversed(TensorSource):
    """Rows from the last to the first."""

    def epoch_permutation(self) -> Tensor:
        return torch.arange(len(self)).flip(0)


class Threes(TensorSource):
    """Batches of three adjacent rows, for any batch size."""

    def batch_indices(self, batch_size: int) -> list[Tensor]:
        return list(torch.arange(len(self)).split(3))


def batches(kind: type[TensorSource], wrap: Callable[[Any], Any]) -> list[list[int]]:
    """Return the rows of each training batch."""
    train = wrap(kind(torch.arange(12.0)[:, None], extras={"label": LABELS}))
    data = DataModule(Splits(train, train, train), batch_size=4, seed=0)
    return [
        batch.index.tolist()
        for batch in data.train_dataloader()
        if isinstance(batch, Batch) and batch.index is not None
    ]


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_order_and_batches_are_those_of_the_wrapped_source(wrap: Callable[[Any], Any]) -> None:
    assert batches(Reversed, wrap) == [[11, 10, 9, 8], [7, 6, 5, 4], [3, 2, 1, 0]]
    assert batches(Threes, wrap) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    plain = batches(TensorSource, wrap)
    assert [len(rows) for rows in plain] == [4, 4, 4]
    assert plain == batches(TensorSource, lambda source: source)
