from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from aeframe.data.random_split import SPLITS, RandomSplit
from aeframe.data.tabular import BreastCancer, Numbers, RowSplits
from aeframe.data.vector import Vector
from aeframe.errors import AeframeError
from aeframe.factory import build, defaults
from aeframe.testing.fixtures import real_file


def write_numbers(folder: Path, count: int = 50) -> Path:
    path = folder / "rows.csv"
    path.write_text("a,b,kind\n" + "".join(f"{2 * row},{2 * row + 1},{row}\n" for row in range(count)))
    return path


def test_a_random_split_of_the_rows(tmp_path: Path) -> None:
    splits = Numbers(path=write_numbers(tmp_path), label="kind", validation=0.2, test=0.1).load()
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [35, 10, 5]
    for part in parts:
        assert part.index is not None
        assert part.label is not None
        assert part.array[:, 0].tolist() == (2 * part.index).tolist()
        assert part.label.tolist() == part.index.tolist()
        assert part.where(1) == f"rows.csv, line {part.index[1] + 2}"
    expected = RandomSplit("x", "rows", validation=0.2, test=0.1, seed=0).indices({"train": torch.arange(50)})
    assert [part.index.tolist() for part in parts if part.index is not None] == [
        expected[name].tolist() for name in SPLITS
    ]


def test_errors_of_the_split(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as caught:
        Numbers(path=write_numbers(tmp_path, 3)).load()
    assert str(caught.value) == (
        "rows.csv has too few rows, 3: 1 for validation and 1 for test leave 1 for training, which needs at least 2; "
        "add rows, or lower validation and test"
    )
    with pytest.raises(AeframeError) as caught:
        Numbers(path=tmp_path / "rows.csv", validation=0.5, test=0.5)
    assert str(caught.value) == (
        "rows.csv needs fractions validation and test above 0 with a sum below 1, found validation=0.5 and test=0.5"
    )


def test_an_npz_may_have_a_test_split(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    x_train, x_test = np.zeros((20, 3)), np.ones((5, 3))
    np.savez(path, x_train=x_train, y_train=np.arange(20), x_test=x_test, y_test=np.arange(5))
    splits = Numbers(path=str(path), label="y").load()
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [18, 2, 5]
    assert splits.test.array.mean() == 1
    assert splits.test.label is not None
    assert splits.test.label.tolist() == [0, 1, 2, 3, 4]
    only_train = Numbers(path=str(path), key="x_train", test=0.25).load()
    assert [len(part) for part in (only_train.train, only_train.validation, only_train.test)] == [13, 2, 5]


def test_a_separate_file_of_test_rows(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b,kind\n" + "".join(f"{i},{i},cat\n" for i in range(10)))
    (tmp_path / "test.csv").write_text("a,b,kind\n1,2,ant\n3,4,cat\n")
    table = Numbers(path=str(tmp_path / "train.csv"), test_path=str(tmp_path / "test.csv"), label="kind")
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
    assert defaults("dataset", "numbers") == {
        "name": "numbers", "path": "???", "test_path": None, "key": None, "label": None, "columns": None,
        "factors": [], "exclude": [], "id": None,
        "header": None, "delimiter": None, "decimal": None, "encoding": None, "missing": [],
        "validation": 0.1, "test": 0.1, "split_seed": 0,
    }  # fmt: skip
    with pytest.raises(AeframeError) as refused:
        build("dataset", "numbers")
    assert str(refused.value) == "dataset 'numbers' needs a value for 'path'; set dataset.path=..."


def test_a_file_with_numbers_as_names_is_read_after_training_without_an_option(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 4))
    path = tmp_path / "years.csv"
    pd.DataFrame(x, columns=["2019", "2020", "2021", "2022"]).to_csv(path, index=False)
    with pytest.raises(AeframeError, match=r"the first line .* can be a header of numbers"):
        Numbers(path=path).describe()
    modality = Vector()
    train = modality.prepare(Numbers(path=path, header=True)).train
    assert len(train) == 160
    values = train.batch(torch.arange(160)).x
    assert torch.allclose(values.std(0), torch.ones(4), atol=0.01)
    batch = modality.read(path)
    assert batch.x.shape == (200, 4)
    modality.write(batch.x, tmp_path / "copy.csv")
    assert (tmp_path / "copy.csv").read_text().splitlines()[0] == "2019,2020,2021,2022"
    np.testing.assert_allclose(np.loadtxt(tmp_path / "copy.csv", delimiter=",", skiprows=1), x, atol=1e-5)


def test_breast_cancer() -> None:
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
    table = Numbers(path=str(real_file("timeseries/ETTh1.csv.gz")), columns=columns)
    assert table.describe() == {"shape": (7,), "columns": columns}
    splits = table.load()
    rows = [splits.train, splits.validation, splits.test]
    assert sum(len(part) for part in rows) == 17420
    assert np.isfinite(np.concatenate([part.array for part in rows])).all()


def test_digits_as_plain_arrays() -> None:
    table = Numbers(path=str(real_file("image/mnist.npz")), label="y", validation=1 / 6)
    assert table.describe() == {"shape": (28, 28), "columns": None}
