"""Splits: disjoint, complete, and the same for the same seed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe import AeframeError
from aeframe_image.pictures import Stack
from aeframe_image.split import Shares, last


def stack(num: int, start: int = 0) -> Stack:
    """Images that carry their number as label."""
    return Stack(torch.zeros(num, 1, 1, 1, dtype=torch.uint8), torch.arange(start, start + num))


def labels(stack: Stack) -> list[int]:
    assert stack.labels is not None
    return stack.labels.tolist()


@settings(max_examples=50, deadline=None)
@given(num=st.integers(3, 300), seed=st.integers(0, 5), share=st.floats(0.01, 0.3))
def test_splits_are_disjoint_and_complete(num: int, seed: int, share: float) -> None:
    shares = Shares("data", validation=share, test=0.2, seed=seed)
    splits = shares.complete({"train": stack(num)})
    assert list(splits) == ["train", "validation", "test"]
    assert sorted(label for stack in splits.values() for label in labels(stack)) == list(range(num))
    assert len(splits["validation"]) == max(1, round(share * num))
    assert len(splits["test"]) == max(1, round(0.2 * num))
    again = shares.complete({"train": stack(num)})
    assert all(labels(splits[name]) == labels(again[name]) for name in splits)


def test_another_seed_gives_another_split() -> None:
    one, two = (Shares("data", validation=0.1, test=0.1, seed=seed).complete({"train": stack(100)}) for seed in (0, 1))
    assert labels(one["test"]) != labels(two["test"])


def test_splits_that_are_there_are_left_alone() -> None:
    shares = Shares("data", validation=0.5, test=0.1, seed=0)
    splits = shares.complete({"test": stack(3, 100), "train": stack(10)})
    assert labels(splits["test"]) == [100, 101, 102]
    assert (len(splits["train"]), len(splits["validation"])) == (5, 5)
    given = {"train": stack(4), "validation": stack(2, 10), "test": stack(2, 20)}
    assert shares.complete(given)["train"] is given["train"]


def test_too_few_images() -> None:
    with pytest.raises(AeframeError) as caught:
        Shares("dataset 'image_folder' at 'x'", validation=0.1, test=0.1, seed=0).complete({"train": stack(2)})
    assert str(caught.value) == (
        "dataset 'image_folder' at 'x' has 2 images for 3 splits (train, validation, test), expected at least 3; "
        "add images"
    )


def test_shares_that_leave_nothing() -> None:
    with pytest.raises(AeframeError) as caught:
        Shares("dataset 'image_folder' at 'x'", validation=0.5, test=0.5, seed=0)
    assert str(caught.value) == (
        "dataset 'image_folder' at 'x' needs shares validation > 0 and test > 0 that leave something to train on, "
        "found 0.5 and 0.5"
    )


def test_the_last_images_are_cut_off() -> None:
    train, validation = last(stack(6), 2)
    assert (labels(train), labels(validation)) == ([0, 1, 2, 3], [4, 5])
