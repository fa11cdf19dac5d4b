"""The split of an earlier run, for data that have changed since."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import SplitRecord, keys_of_names
from aeframe.data.tabular import Numbers, RowSplits
from aeframe.errors import AeframeError


def drawn() -> dict[str, Tensor]:
    return {"train": torch.tensor([0, 3]), "validation": torch.tensor([1]), "test": torch.tensor([2])}


def fail() -> dict[str, Tensor]:
    raise AssertionError("a saved split is not drawn again")


def as_lists(indices: dict[str, Tensor]) -> dict[str, list[int]]:
    return {split: index.tolist() for split, index in indices.items()}


def test_a_split_is_drawn_and_recorded() -> None:
    record = SplitRecord()
    keys = torch.tensor([10, 20, 30, 40])
    assert as_lists(record.indices("data", {"train": keys}, drawn)) == {"train": [0, 3], "validation": [1], "test": [2]}
    assert as_lists(record.keys) == {"train": [10, 40], "validation": [20], "test": [30]}
    assert record.num_samples == 4


def test_a_saved_split_is_found_and_added_samples_are_left_out() -> None:
    before, record = SplitRecord(), SplitRecord()
    before.indices("data", {"train": torch.tensor([10, 20, 30, 40])}, drawn)
    record.saved = before.keys
    moved = torch.tensor([50, 40, 5, 20, 10, 30])
    assert as_lists(record.indices("data", {"train": moved}, fail)) == {"train": [1, 4], "validation": [3], "test": [5]}
    assert as_lists(record.keys) == {"train": [40, 10], "validation": [20], "test": [30]}
    assert record.num_samples == 6


def test_saved_splits_that_the_data_have_are_looked_up_there() -> None:
    before, record = SplitRecord(), SplitRecord()
    present = {"train": torch.arange(3), "test": torch.arange(2)}
    draw = {"train": torch.tensor([0, 2]), "validation": torch.tensor([1])}
    assert as_lists(before.indices("data", present, lambda: draw))["test"] == [0, 1]
    record.saved = before.keys
    more = {"train": torch.arange(5), "test": torch.arange(4)}
    assert as_lists(record.indices("data", more, fail)) == {"train": [0, 2], "validation": [1], "test": [0, 1]}


@pytest.mark.parametrize("left", [[10, 20, 40], []])
def test_missing_samples_are_refused(left: list[int]) -> None:
    before, record = SplitRecord(), SplitRecord()
    before.indices("data", {"train": torch.tensor([10, 20, 30, 40])}, drawn)
    record.saved = {
        "train": torch.empty(0, dtype=torch.long),
        **{k: v for k, v in before.keys.items() if k != "train"},
    }
    with pytest.raises(AeframeError) as raised:
        record.indices("data 'x'", {"train": torch.tensor(left, dtype=torch.long)}, fail)
    assert "data 'x' lacks 1 of the 1 samples of the " in str(raised.value)
    assert str(raised.value).endswith("pass the data of that run with --data PATH, or train a new model")


def test_names_have_keys() -> None:
    keys = keys_of_names(["a/1.png", "a/2.png", "a/1.png"])
    assert keys.dtype == torch.int64
    assert keys[0] == keys[2] != keys[1]
    assert keys_of_names([]).shape == (0,)


class Values:
    def __init__(self, values: list[int]) -> None:
        self.values = torch.tensor(values)

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: Tensor) -> Values:
        return Values(self.values[index].tolist())


def test_a_random_split_honours_the_record() -> None:
    random_split = RandomSplit("data", "numbers", validation=0.2, test=0.2, seed=0)
    before, record = SplitRecord(), SplitRecord()
    first = random_split.complete({"train": Values(list(range(10)))}, before)
    assert {k: v.values.tolist() for k, v in first.items()} == {
        k: v.values.tolist() for k, v in random_split.complete({"train": Values(list(range(10)))}).items()
    }
    record.saved = before.keys
    again = random_split.complete({"train": Values(list(range(15)))}, record)
    assert {k: v.values.tolist() for k, v in again.items()} == {k: v.values.tolist() for k, v in first.items()}


def load(path: Path, before: RowSplits | None = None, **options: object) -> tuple[Numbers, RowSplits]:
    table = Numbers(path=path, label="kind", **options)  # type: ignore[arg-type]
    return table, table.load()


def test_a_table_with_added_rows_has_the_same_split_and_classes(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    lines = ["a,kind", *(f"{row},{'cat' if row % 2 else 'dog'}" for row in range(40))]
    path.write_text("\n".join(lines) + "\n")
    table, first = load(path)
    path.write_text("\n".join([*lines, *(f"{row},ant" for row in range(40, 60))]) + "\n")
    again = Numbers(path=path, label="kind")
    again.split_record.saved = table.split_record.keys
    second = again.load()
    for name in ("train", "validation", "test"):
        one, other = getattr(first, name), getattr(second, name)
        assert np.array_equal(one.array, other.array)
        assert np.array_equal(one.label, other.label)
    # A new draw has training rows of the saved split in its test split.
    redrawn = load(path)[1]
    assert set(redrawn.test.array[:, 0]) & set(first.train.array[:, 0])
