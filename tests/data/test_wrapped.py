"""Sources around others keep the order that these are read in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.data import DataModule, Splits, TensorSource
from aeframe.data.labels import Labelled
from aeframe.data.pairs import Paired
from aeframe.types import Batch

LABELS = torch.arange(12) % 3
AROUND: dict[str, Callable[[Any], Any]] = {
    "labelled": lambda source: Labelled(source, 3),
    "paired": Paired,
    "both": lambda source: Paired(Labelled(source, 3)),
}


class Backwards(TensorSource):
    """Rows from the last to the first."""

    def order(self) -> Tensor:
        return torch.arange(len(self)).flip(0)


class Threes(TensorSource):
    """Batches of three that stand together, whatever was asked for."""

    def groups(self, batch_size: int, world: int) -> list[Tensor]:
        return list(torch.arange(len(self)).split(3))


def batches(kind: type[TensorSource], around: Callable[[Any], Any]) -> list[list[int]]:
    """The rows of each training batch."""
    train = around(kind(torch.arange(12.0)[:, None], extras={"label": LABELS}))
    data = DataModule(Splits(train, train, train), batch_size=4, seed=0)
    return [
        batch.index.tolist()
        for batch in data.train_dataloader()
        if isinstance(batch, Batch) and batch.index is not None
    ]


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_what_is_around_a_source_is_read_as_it_is(around: Callable[[Any], Any]) -> None:
    assert batches(Backwards, around) == [[11, 10, 9, 8], [7, 6, 5, 4], [3, 2, 1, 0]]
    assert batches(Threes, around) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    plain = batches(TensorSource, around)
    assert [len(rows) for rows in plain] == [4, 4, 4]
    assert plain == batches(TensorSource, lambda source: source)
