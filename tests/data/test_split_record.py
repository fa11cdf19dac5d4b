"""The split of an earlier run, on data that have changed since."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aeframe.data.random_split import RandomSplit
from aeframe.data.split_record import SplitRecord, keys_of_names
from aeframe.data.tabular import RowSplits, Table
from aeframe.errors import AeframeError


def drawn() -> dict[str, Tensor]:
    return {"train": torch.tensor([0, 3]), "validation": torch.tensor([1]), "test": torch.tensor([2])}


def never() -> dict[str, Tensor]:
    raise AssertionError("a saved split is not drawn again")


def plain(places: dict[str, Tensor]) -> dict[str, list[int]]:
    return {split: own.tolist() for split, own in places.items()}


def test_a_split_is_drawn_and_recorded() -> None:
    record = SplitRecord()
    keys = torch.tensor([10, 20, 30, 40])
    assert plain(record.places("data", {"train": keys}, drawn)) == {"train": [0, 3], "validation": [1], "test": [2]}
    assert plain(record.drawn) == {"train": [10, 40], "validation": [20], "test": [30]}
    assert record.num_samples == 4


def test_a_saved_split_finds_its_samples_and_leaves_others_out() -> None:
    before, record = SplitRecord(), SplitRecord()
    before.places("data", {"train": torch.tensor([10, 20, 30, 40])}, drawn)
    record.saved = before.drawn
    moved = torch.tensor([50, 40, 5, 20, 10, 30])
    assert plain(record.places("data", {"train": moved}, never)) == {"train": [1, 4], "validation": [3], "test": [5]}
    assert plain(record.drawn) == {"train": [40, 10], "validation": [20], "test": [30]}
    assert record.num_samples == 6


def test_splits_that_the_data_come_with_are_looked_up_in_themselves() -> None:
    before, record = SplitRecord(), SplitRecord()
    present = {"train": torch.arange(3), "test": torch.arange(2)}
    draw = {"train": torch.tensor([0, 2]), "validation": torch.tensor([1])}
    assert plain(before.places("data", present, lambda: draw))["test"] == [0, 1]
    record.saved = before.drawn
    more = {"train": torch.arange(5), "test": torch.arange(4)}
    assert plain(record.places("data", more, never)) == {"train": [0, 2], "validation": [1], "test": [0, 1]}


@pytest.mark.parametrize("left", [[10, 20, 40], []])
def test_samples_that_are_gone_are_refused(left: list[int]) -> None:
    before, record = SplitRecord(), SplitRecord()
    before.places("data", {"train": torch.tensor([10, 20, 30, 40])}, drawn)
    record.saved = {
        "train": torch.empty(0, dtype=torch.long),
        **{k: v for k, v in before.drawn.items() if k != "train"},
    }
    with pytest.raises(AeframeError) as raised:
        record.places("data 'x'", {"train": torch.tensor(left, dtype=torch.long)}, never)
    assert "data 'x' lacks 1 of the 1 samples of the " in str(raised.value)
    assert str(raised.value).endswith("give the data of that run with --data PATH, or train a new model")


def test_names_have_keys() -> None:
    keys = keys_of_names(["a/1.png", "a/2.png", "a/1.png"])
    assert keys.dtype == torch.int64
    assert keys[0] == keys[2] != keys[1]
    assert keys_of_names([]).shape == (0,)


class Numbers:
    def __init__(self, values: list[int]) -> None:
        self.values = torch.tensor(values)

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: Tensor) -> Numbers:
        return Numbers(self.values[index].tolist())


def test_shares_are_those_of_the_record() -> None:
    shares = RandomSplit("data", "numbers", validation=0.2, test=0.2, seed=0)
    before, record = SplitRecord(), SplitRecord()
    first = shares.complete({"train": Numbers(list(range(10)))}, before)
    assert {k: v.values.tolist() for k, v in first.items()} == {
        k: v.values.tolist() for k, v in shares.complete({"train": Numbers(list(range(10)))}).items()
    }
    record.saved = before.drawn
    again = shares.complete({"train": Numbers(list(range(15)))}, record)
    assert {k: v.values.tolist() for k, v in again.items()} == {k: v.values.tolist() for k, v in first.items()}


def load(path: Path, before: RowSplits | None = None, **options: object) -> tuple[Table, RowSplits]:
    table = Table(path=path, label="kind", **options)  # type: ignore[arg-type]
    return table, table.load()


def test_a_table_with_added_rows_keeps_its_split_and_its_classes(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    lines = ["a,kind", *(f"{row},{'cat' if row % 2 else 'dog'}" for row in range(40))]
    path.write_text("\n".join(lines) + "\n")
    table, first = load(path)
    path.write_text("\n".join([*lines, *(f"{row},ant" for row in range(40, 60))]) + "\n")
    again = Table(path=path, label="kind")
    again.split_record.saved = table.split_record.drawn
    second = again.load()
    for name in ("train", "validation", "test"):
        one, other = getattr(first, name), getattr(second, name)
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.label, other.label)
    # Without the saved split, training rows are test rows.
    anew = load(path)[1]
    assert set(anew.test.values[:, 0]) & set(first.train.values[:, 0])
