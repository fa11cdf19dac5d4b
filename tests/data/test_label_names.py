"""Labels by name: a model keeps the names of its labels, and takes them wherever it takes a condition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.cli.main import main
from aeframe.data.labels import condition_on_labels
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Splits
from aeframe.errors import AeframeError
from aeframe.model_store.inputs import Labels, as_batch, as_condition
from aeframe.model_store.trained_model import TrainedModel
from aeframe.types import Batch, DataSpec, Domain

CITIES = ("Bergen", "Oslo", "Turku")


def table(num: int = 120) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(num, 3)), columns=list("abc"))
    frame.insert(1, "city", [CITIES[2 - row % 3] for row in range(num)])
    return frame


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a trained model whose condition is the city of each row."""
    folder = tmp_path_factory.mktemp("cities")
    table().to_csv(folder / "d.csv", index=False)
    return aeframe.fit(
        model="cvae",
        data={"name": "numbers", "path": folder / "d.csv", "label": "city"},
        label_classes=3,
        latent={"dim": 2},
        max_epochs=1,
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
        folder=folder / "run",
    ).folder


@pytest.fixture
def model(run: Path) -> TrainedModel:
    return aeframe.load(run)


def one_hot(labels: list[int]) -> torch.Tensor:
    return torch.eye(3)[labels]


def test_a_model_keeps_the_names_of_its_labels(model: TrainedModel) -> None:
    assert model.label_names == CITIES
    assert "label_names" not in model.data.fingerprint


def test_a_file_with_the_labels_is_encoded_without_another_word(
    model: TrainedModel, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run.parent / "d.csv"
    batch = model.modality.read(file)
    expected = model.encode(batch.x, condition=one_hot([2 - row % 3 for row in range(120)]))
    assert torch.equal(model.encode(batch), expected)
    assert main(["encode", str(run), str(file), "-o", str(tmp_path / "z.npz")]) == 0
    assert np.array_equal(np.load(tmp_path / "z.npz")["z"], expected.numpy())
    assert main(["reconstruct", str(run), str(file), "-o", str(tmp_path / "r.csv")]) == 0
    for name in ("score", "reconstruct", "posterior"):
        getattr(model, name)(batch)
    assert model.interpolate(batch.rows(slice(0, 2)), batch.rows(slice(1, 3)), 3).shape == (2, 3, 3)


@pytest.mark.parametrize(
    "labels",
    [
        ["Oslo", "Turku", "Oslo", "Bergen"],
        ("Oslo", "Turku", "Oslo", "Bergen"),
        [1, 2, 1, 0],
        ["1", "2", "Oslo", "0"],
        np.array(["Oslo", "Turku", "Oslo", "Bergen"]),
        np.array([1, 2, 1, 0], np.int32),
        pd.Series(["Oslo", "Turku", "Oslo", "Bergen"]),
        torch.tensor([1, 2, 1, 0]),
    ],
    ids=str,
)
def test_a_condition_is_labels_of_any_kind(model: TrainedModel, labels: Any) -> None:
    x, condition = torch.zeros(4, 3), one_hot([1, 2, 1, 0])
    assert torch.equal(model.encode(x, condition=labels), model.encode(x, condition=condition))
    assert torch.equal(model.reconstruct(x, condition=labels), model.reconstruct(x, condition=condition))
    assert torch.equal(model.score(x, condition=labels), model.score(x, condition=condition))
    assert torch.equal(model.sample(4, seed=0, condition=labels), model.sample(4, seed=0, condition=condition))


def test_one_label_is_that_of_all_samples(model: TrainedModel) -> None:
    condition = one_hot([1, 1, 1])
    for label in ("Oslo", 1):
        assert torch.equal(model.sample(3, seed=0, condition=label), model.sample(3, seed=0, condition=condition))


def test_generate_and_encode_take_the_name_of_a_label(model: TrainedModel, run: Path, tmp_path: Path) -> None:
    for label in ("Turku", "2"):
        path = tmp_path / f"{label}.npy"
        assert main(["generate", str(run), "--label", label, "-n", "3", "--seed", "0", "-o", str(path)]) == 0
        x = model.modality.read(path).x
        assert torch.allclose(x, model.sample(3, seed=0, condition=one_hot([2, 2, 2])), atol=1e-5)
    table().drop(columns="city").to_csv(tmp_path / "x.csv", index=False)
    encode = ["encode", str(run), str(tmp_path / "x.csv")]
    assert main([*encode, "-o", str(tmp_path / "name.npz"), "--label", "Oslo"]) == 0
    assert main([*encode, "-o", str(tmp_path / "numbers.npz"), "--condition", "0,1,0"]) == 0
    assert np.array_equal(np.load(tmp_path / "name.npz")["z"], np.load(tmp_path / "numbers.npz")["z"])


def test_an_unknown_label_on_the_command_line_is_an_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(run), "--label", "Osl", "-o", str(tmp_path / "x.npy")]) == 2
    assert capsys.readouterr().err == (
        "error: model 'cvae' has the labels Bergen, Oslo, Turku, found --label Osl, did you mean 'Oslo'?; choose one "
        "of these labels\n"
    )


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            ["Oslo", "Turk"],
            "model 'cvae' has the labels Bergen, Oslo, Turku, sample 1 has the label 'Turk', did you mean 'Turku'?; "
            "set condition=",
        ),
        ([0, 3], "model 'cvae' has the labels Bergen, Oslo, Turku, sample 1 has the label 3; set condition="),
        (["Oslo"], "model 'cvae' needs a label for each of 2 samples, found 1; correct condition="),
        (
            None,
            "model 'cvae' needs a condition of shape (2, 3), found none; set condition=, or the labels of the samples "
            "(Bergen, Oslo, Turku)",
        ),
    ],
    ids=str,
)
def test_errors_of_labels(model: TrainedModel, condition: Any, message: str) -> None:
    with pytest.raises(AeframeError) as error:
        model.encode(torch.zeros(2, 3), condition=condition)
    assert str(error.value) == message


def test_a_label_that_training_did_not_have(model: TrainedModel, tmp_path: Path) -> None:
    frame = table(4)
    frame.loc[2, "city"] = "Rome"
    frame.to_csv(tmp_path / "new.csv", index=False)
    batch = model.modality.read(tmp_path / "new.csv")
    assert batch.extras["label"].tolist() == [2, 1, -1, 2]
    with pytest.raises(AeframeError) as error:
        model.encode(batch)
    assert str(error.value) == (
        "model 'cvae' has the labels Bergen, Oslo, Turku, sample 2 has a label that training did not have; set "
        "condition="
    )
    assert model.encode(batch, condition="Oslo").shape == (4, 2)


def test_changed_data_keep_the_labels_of_training(run: Path, tmp_path: Path) -> None:
    # Without Bergen, Oslo would become the first of the sorted labels.
    frame = table()
    frame[frame["city"] != "Bergen"].to_csv(tmp_path / "less.csv", index=False)
    model = aeframe.load(run)
    batch = model.modality.read(tmp_path / "less.csv")
    assert set(batch.extras["label"].tolist()) == {1, 2}
    dataset = aeframe.factory.build("dataset", {"name": "numbers", "path": str(tmp_path / "less.csv"), "label": "city"})
    splits = model.modality.prepare(dataset, learn=False)
    assert splits.label_names == CITIES
    assert set(splits.train.batch(torch.arange(len(splits.train))).extras["label"].tolist()) == {1, 2}


@pytest.mark.parametrize(
    ("write", "labelled"),
    [
        (lambda path: table().to_csv(path / "x.csv", header=False, index=False), True),
        (lambda path: table().drop(columns="city").to_csv(path / "x.csv", header=False, index=False), False),
    ],
    ids=["with", "without"],
)
def test_a_file_without_a_header(tmp_path: Path, write: Callable[[Path], None], labelled: bool) -> None:
    table().to_csv(tmp_path / "train.csv", header=False, index=False)
    dataset = aeframe.factory.build("dataset", {"name": "numbers", "path": str(tmp_path / "train.csv"), "label": "1"})
    modality = aeframe.factory.build("modality", {"name": "vector"})
    modality.prepare(dataset)
    write(tmp_path)
    batch = modality.read(tmp_path / "x.csv")
    assert batch.x.shape == (120, 3)
    assert ("label" in batch.extras) == labelled


def test_the_label_of_an_array_file_is_read(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.array(CITIES)[np.arange(60) % 3]
    np.savez(tmp_path / "train.npz", x_train=x, y_train=y, x_test=x[:30], y_test=y[:30])
    dataset = aeframe.factory.build("dataset", {"name": "numbers", "path": str(tmp_path / "train.npz"), "label": "y"})
    modality = aeframe.factory.build("modality", {"name": "vector"})
    assert modality.prepare(dataset).label_names == CITIES
    np.savez(tmp_path / "new.npz", x=x[:4], y=y[1:5])
    assert modality.read(tmp_path / "new.npz").extras["label"].tolist() == [1, 2, 0, 1]
    np.savez(tmp_path / "test.npz", x_test=x[:4], y_test=y[:4])
    assert modality.read(tmp_path / "test.npz").extras["label"].tolist() == [0, 1, 2, 0]
    np.savez(tmp_path / "none.npz", x=x[:4])
    assert modality.read(tmp_path / "none.npz").extras == {}


def test_labels_follow_the_covariates_of_a_batch() -> None:
    spec, labels = DataSpec((1,), Domain("real"), condition=5), Labels(3, CITIES)
    batch = Batch(
        torch.zeros(2, 1), condition=torch.tensor([[0.5, 2], [0.25, 3]]), extras={"label": torch.tensor([2, 0])}
    )
    complete = torch.tensor([[0.5, 2, 0, 0, 1], [0.25, 3, 1, 0, 0]])
    found = as_batch("model 'x'", batch, None, spec, labels)
    assert found.condition is not None
    assert torch.equal(found.condition, complete)
    # A condition that has its labels is complete.
    again = as_batch("model 'x'", found, None, spec, labels).condition
    assert again is not None
    assert torch.equal(again, complete)
    by_name = as_batch("model 'x'", batch, ["Turku", "Bergen"], spec, labels).condition
    assert by_name is not None
    assert torch.equal(by_name, complete)
    with pytest.raises(AeframeError) as error:
        as_condition("model 'x'", "Oslo", spec, 2, labels)
    assert str(error.value) == (
        "the condition of model 'x' has 5 numbers, of which 3 are the label, found a label only; set condition= to all "
        "5 numbers"
    )


def test_a_name_takes_precedence_over_an_integer() -> None:
    labels = Labels(2, ("1", "2"))
    assert [labels.index(label) for label in ("1", "2", "0", 1, 2, "x")] == [0, 1, 0, 1, None, None]


def test_labels_of_other_data_get_the_classes_of_the_same_names() -> None:
    source = TensorSource(torch.zeros(4, 1), extras={"label": torch.tensor([0, 1, 2, -1])})
    splits = Splits(source, source, source, label_names=("Oslo", "Rome", "Turku"))
    conditioned = condition_on_labels(splits, 3, CITIES)
    assert conditioned.label_names == splits.label_names
    batch = conditioned.train.batch(torch.tensor([0, 2]))
    assert batch.condition is not None
    assert torch.equal(batch.condition, one_hot([1, 2]))
    for row in (1, 3):
        with pytest.raises(AeframeError, match=f"row {row} has the label -1"):
            conditioned.train.batch(torch.tensor([row]))
