"""Splits: disjoint, complete, and the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aeframe.data.random_split import SPLITS, RandomSplit
from aeframe.errors import AeframeError


@dataclass
class Numbers:
    """Samples that are their own numbers."""

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: Tensor) -> Numbers:
        return Numbers(self.values[index])


def numbers(num: int, start: int = 0) -> Numbers:
    return Numbers(torch.arange(start, start + num))


def drawn(present: dict[str, Numbers], validation: float = 0.1, test: float = 0.1, seed: int = 0) -> dict[str, Any]:
    shares = RandomSplit("dataset 'x'", "images", validation=validation, test=test, seed=seed)
    return {name: samples.values.tolist() for name, samples in shares.complete(present).items()}


@settings(max_examples=50, deadline=None)
@given(num=st.integers(3, 300), seed=st.integers(0, 5), share=st.floats(0.01, 0.3))
def test_splits_are_disjoint_and_complete(num: int, seed: int, share: float) -> None:
    splits = drawn({"train": numbers(num)}, validation=share, test=0.2, seed=seed)
    assert tuple(splits) == SPLITS
    assert sorted(row for rows in splits.values() for row in rows) == list(range(num))
    assert len(splits["validation"]) == max(1, round(share * num))
    assert len(splits["test"]) == max(1, round(0.2 * num))
    assert all(rows == sorted(rows) for rows in splits.values())


def test_the_draw_is_that_of_the_seed_for_ever() -> None:
    # Written down: results that were published with a seed must be found again.
    splits = drawn({"train": numbers(23)}, validation=0.2, test=0.1, seed=5)
    assert (splits["validation"], splits["test"]) == ([3, 8, 11, 18, 22], [6, 21])
    torch.manual_seed(1)
    assert drawn({"train": numbers(23)}, validation=0.2, test=0.1, seed=5) == splits
    assert drawn({"train": numbers(23)}, validation=0.2, test=0.1, seed=6)["test"] != splits["test"]


def test_splits_that_are_there_are_left_alone() -> None:
    splits = drawn({"test": numbers(3, 100), "train": numbers(10)}, validation=0.5)
    assert splits["test"] == [100, 101, 102]
    assert (len(splits["train"]), len(splits["validation"])) == (5, 5)
    present = {"train": numbers(1), "validation": numbers(2, 10), "test": numbers(2, 20)}
    shares = RandomSplit("dataset 'x'", "images", validation=0.1, test=0.1, seed=0)
    assert shares.complete(present)["train"] is present["train"]


def test_too_few_samples() -> None:
    with pytest.raises(AeframeError) as caught:
        drawn({"train": numbers(2)})
    assert str(caught.value) == (
        "dataset 'x' has 2 images for 3 splits (train, validation, test), expected at least 3; add images"
    )


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (0.0, 0.1), (0.1, -0.1)])
def test_shares_that_leave_nothing(validation: float, test: float) -> None:
    with pytest.raises(AeframeError) as caught:
        RandomSplit("dataset 'x'", "images", validation=validation, test=test, seed=0)
    assert str(caught.value) == (
        "dataset 'x' needs shares validation > 0 and test > 0 that leave something to train on, "
        f"found {validation} and {test}"
    )
