"""Random splits: disjoint, complete, and a function of the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aeframe.data.random_split import SPLITS, RandomSplit
from aeframe.data.split_record import SplitRecord
from aeframe.errors import AeframeError


@dataclass
class Numbers:
    """Samples that equal their numbers."""

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: Tensor) -> Numbers:
        return Numbers(self.values[index])


def numbers(num: int, start: int = 0) -> Numbers:
    return Numbers(torch.arange(start, start + num))


def split(present: dict[str, Numbers], validation: float = 0.1, test: float = 0.1, seed: int = 0) -> dict[str, Any]:
    random_split = RandomSplit("dataset 'x'", "images", validation=validation, test=test, seed=seed)
    return {name: samples.values.tolist() for name, samples in random_split.complete(present).items()}


@settings(max_examples=50, deadline=None)
@given(num=st.integers(5, 300), seed=st.integers(0, 5), fraction=st.floats(0.01, 0.3))
def test_splits_are_disjoint_and_complete(num: int, seed: int, fraction: float) -> None:
    splits = split({"train": numbers(num)}, validation=fraction, test=0.2, seed=seed)
    assert tuple(splits) == SPLITS
    assert sorted(row for rows in splits.values() for row in rows) == list(range(num))
    assert len(splits["validation"]) == max(1, round(fraction * num))
    assert len(splits["test"]) == max(1, round(0.2 * num))
    assert all(rows == sorted(rows) for rows in splits.values())


def test_the_split_of_a_seed_never_changes() -> None:
    # Published results must be reproducible with any later version.
    splits = split({"train": numbers(23)}, validation=0.2, test=0.1, seed=5)
    assert (splits["validation"], splits["test"]) == ([3, 8, 11, 18, 22], [6, 21])
    torch.manual_seed(1)
    assert split({"train": numbers(23)}, validation=0.2, test=0.1, seed=5) == splits
    assert split({"train": numbers(23)}, validation=0.2, test=0.1, seed=6)["test"] != splits["test"]


def test_drawing_does_not_advance_the_default_generator() -> None:
    state = torch.get_rng_state()
    split({"train": numbers(23)})
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("num", "size"), [(4, 1), (10, 2), (14, 4), (18, 4), (19, 5)])
def test_halves_are_rounded_to_even_and_one_is_the_least(num: int, size: int) -> None:
    assert len(split({"train": numbers(num)}, validation=0.25, test=0.01)["validation"]) == size


def test_splits_of_the_dataset_are_unchanged() -> None:
    splits = split({"test": numbers(3, 100), "train": numbers(10)}, validation=0.5)
    assert splits["test"] == [100, 101, 102]
    assert (len(splits["train"]), len(splits["validation"])) == (5, 5)
    present = {"train": numbers(1), "validation": numbers(2, 10), "test": numbers(2, 20)}
    random_split = RandomSplit("dataset 'x'", "images", validation=0.1, test=0.1, seed=0)
    assert random_split.complete(present)["train"] is present["train"]


def test_indices_are_those_of_the_samples() -> None:
    random_split = RandomSplit("dataset 'x'", "images", validation=0.2, test=0.1, seed=5)
    record = SplitRecord()
    indices = random_split.indices({"train": torch.arange(23) + 1000}, record)
    assert indices["test"].tolist() == [6, 21]
    assert record.keys["test"].tolist() == [1006, 1021]


@pytest.mark.parametrize(
    ("num", "fractions", "present", "message"),
    [
        (
            3, (0.1, 0.1), (),
            "dataset 'x' has too few images, 3: 1 for validation and 1 for test leave 1 for training, which needs at "
            "least 2; add images, or lower validation and test",
        ),
        (
            0, (0.1, 0.1), (),
            "dataset 'x' has too few images, 0: 1 for validation and 1 for test leave 0 for training, which needs at "
            "least 2; add images, or lower validation and test",
        ),
        (
            10, (0.9, 0.05), ("test",),
            "dataset 'x' has too few images, 10: 9 for validation leave 1 for training, which needs at least 2; "
            "add images, or lower validation",
        ),
    ],
)  # fmt: skip
def test_too_few_samples(num: int, fractions: tuple[float, float], present: tuple[str, ...], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        split({"train": numbers(num), **{name: numbers(3) for name in present}}, *fractions)
    assert str(caught.value) == message


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (0.0, 0.1), (0.1, -0.1), (1.5, 0.1)])
def test_fractions_out_of_range(validation: float, test: float) -> None:
    with pytest.raises(AeframeError) as caught:
        RandomSplit("dataset 'x'", "images", validation=validation, test=test, seed=0)
    assert str(caught.value) == (
        "dataset 'x' needs fractions validation and test above 0 with a sum below 1, "
        f"found validation={validation:g} and test={test:g}"
    )
