from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aeframe.data.tables import Rows
from aeframe.data.tabular import BreastCancer, RowSplits, Table, share_out
from aeframe.errors import AeframeError
from aeframe.factory import build, defaults
from aeframe.testing.fixtures import real_file


def positions(*parts: Rows | None) -> list[list[int]]:
    return [[] if part is None or part.index is None else part.index.tolist() for part in parts]


def numbers(count: int = 50) -> Rows:
    return Rows(np.arange(count * 2.0).reshape(count, 2), "rows.csv", label=np.arange(count))


def test_rows_are_shared_out_once_each_by_the_seed() -> None:
    train, validation, test = positions(*share_out(numbers(), validation=0.2, test=0.1, seed=0))
    assert [len(train), len(validation), len(test)] == [35, 10, 5]
    assert sorted(train + validation + test) == list(range(50))
    assert validation == sorted(validation)
    assert validation != list(range(validation[0], validation[0] + 10))
    torch.manual_seed(1)
    assert positions(*share_out(numbers(), validation=0.2, test=0.1, seed=0))[1] == validation
    assert positions(*share_out(numbers(), validation=0.2, test=0.1, seed=1))[1] != validation
    assert share_out(numbers(), validation=0.2, test=None, seed=0)[2] is None


def test_rows_stay_with_their_labels_and_numbers() -> None:
    for part in share_out(numbers(), validation=0.2, test=0.1, seed=0):
        assert part is not None
        assert part.index is not None
        assert part.label is not None
        assert part.values[:, 0].tolist() == (2 * part.index).tolist()
        assert part.label.tolist() == part.index.tolist()
        assert part.where(1) == f"rows.csv, row {part.index[1]}"


@pytest.mark.parametrize(
    ("count", "validation", "test", "message"),
    [
        (
            4, 0.1, 0.5,
            "rows.csv has 4 rows, of which validation=0.1 is none; add rows, or raise validation",
        ),
        (1, 0.1, 0.1, "rows.csv has one row, of which validation=0.1 is none; add rows, or raise validation"),
        (
            10, 0.5, 0.5,
            "rows.csv has 10 rows, which leaves no row for training and at least two are needed; "
            "add rows, or lower validation and test",
        ),
        (
            10, 0.9, None,
            "rows.csv has 10 rows, which leaves one row for training and at least two are needed; "
            "add rows, or lower validation",
        ),
        (10, 0.0, 0.1, "validation=0 is a fraction of the rows and must lie between 0 and 1, exclusive"),
        (10, 0.1, 1.5, "test=1.5 is a fraction of the rows and must lie between 0 and 1, exclusive"),
    ],
)  # fmt: skip
def test_no_split_is_left_empty(count: int, validation: float, test: float | None, message: str) -> None:
    with pytest.raises(AeframeError) as refused:
        share_out(numbers(count), validation=validation, test=test, seed=0)
    assert str(refused.value) == message


def test_an_npz_may_say_what_is_for_testing(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    x_train, x_test = np.zeros((20, 3)), np.ones((5, 3))
    np.savez(path, x_train=x_train, y_train=np.arange(20), x_test=x_test, y_test=np.arange(5))
    splits = Table(path=str(path), label="y").load()
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [18, 2, 5]
    assert splits.test.values.mean() == 1
    assert splits.test.label is not None
    assert splits.test.label.tolist() == [0, 1, 2, 3, 4]
    only_train = Table(path=str(path), key="x_train", test=0.25).load()
    assert [len(part) for part in (only_train.train, only_train.validation, only_train.test)] == [13, 2, 5]


def test_test_rows_may_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b,kind\n" + "".join(f"{i},{i},cat\n" for i in range(10)))
    (tmp_path / "test.csv").write_text("a,b,kind\n1,2,ant\n3,4,cat\n")
    table = Table(path=str(tmp_path / "train.csv"), test_path=str(tmp_path / "test.csv"), label="kind")
    assert table.describe() == {"shape": (2,), "columns": ("a", "b")}
    splits = table.load()
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [9, 1, 2]
    assert splits.test.label is not None
    assert splits.train.label is not None
    assert splits.test.label.tolist() == [0, 1]
    assert set(splits.train.label.tolist()) == {1}

    (tmp_path / "test.csv").write_text("a,c,kind\n1,2,ant\n")
    with pytest.raises(AeframeError) as refused:
        table.describe()
    assert str(refused.value) == (
        "'test.csv' has rows of shape (2,) and columns (a, c), expected (2,) and (a, b) as in 'train.csv'"
    )


def test_options_are_those_of_the_registry() -> None:
    assert defaults("dataset", "table") == {
        "name": "table", "path": "???", "test_path": None, "key": None, "label": None, "columns": None,
        "validation": 0.1, "test": 0.1, "split_seed": 0,
    }  # fmt: skip
    with pytest.raises(AeframeError) as refused:
        build("dataset", "table")
    assert str(refused.value) == "dataset 'table' needs a value for 'path'; set dataset.path=..."


def test_breast_cancer_is_what_it_should_be() -> None:
    data = build("dataset", "breast_cancer")
    assert isinstance(data, BreastCancer)
    assert data.describe()["shape"] == (30,)
    splits = data.load()
    assert isinstance(splits, RowSplits)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [455, 57, 57]
    assert splits.train.columns is not None
    assert splits.train.columns[0] == "mean radius"
    # 357 of the 569 are benign, which scikit-learn codes as 1.
    labels = [part.label for part in (splits.train, splits.validation, splits.test)]
    assert sum(int(label.sum()) for label in labels if label is not None) == 357


def test_hourly_temperatures_from_a_compressed_csv() -> None:
    columns = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    table = Table(path=str(real_file("timeseries/ETTh1.csv.gz")), columns=columns)
    assert table.describe() == {"shape": (7,), "columns": columns}
    splits = table.load()
    rows = [splits.train, splits.validation, splits.test]
    assert sum(len(part) for part in rows) == 17420
    assert np.isfinite(np.concatenate([part.values for part in rows])).all()


def test_digits_as_arrays_nobody_has_explained() -> None:
    table = Table(path=str(real_file("image/mnist.npz")), label="y", validation=1 / 6)
    assert table.describe() == {"shape": (28, 28), "columns": None}
