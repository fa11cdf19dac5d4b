"""One-hot labels as a condition, appended to any other condition, in every split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import aeframe
from aeframe.cli.main import main
from aeframe.data.labels import LabelConditioned, check_labels, condition_on_labels
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Splits
from aeframe.errors import AeframeError
from aeframe.types import Batch

X = torch.arange(4.0)[:, None]
LABELS = torch.tensor([2, 0, 1, 0])


def source(label: torch.Tensor | None = LABELS, condition: torch.Tensor | None = None) -> TensorSource:
    return TensorSource(X, condition=condition, extras={} if label is None else {"label": label})


def condition_of(batch: Batch) -> list[list[float]]:
    assert batch.condition is not None
    return batch.condition.tolist()


def test_a_label_is_one_hot_after_any_other_condition() -> None:
    rows = torch.tensor([0, 3])
    assert condition_of(LabelConditioned(source(), 3).batch(rows)) == [[0, 0, 1], [1, 0, 0]]
    assert condition_of(LabelConditioned(source(condition=X), 3).batch(rows)) == [[0, 0, 0, 1], [3, 1, 0, 0]]


def test_every_split_is_conditioned_unless_there_are_no_classes() -> None:
    splits = Splits(source(), source(), source(), ["one row"])
    assert condition_on_labels(splits, 0) is splits
    conditioned = condition_on_labels(splits, 3)
    assert conditioned.skipped == ["one row"]
    for split in (conditioned.train, conditioned.validation, conditioned.test):
        assert condition_of(split.batch(torch.tensor([1]))) == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (
            None,
            "setting 'label_classes' needs samples with labels that are whole numbers, found none; set "
            "label_classes=0, or name the labels in the data's options",
        ),
        (
            X,
            "setting 'label_classes' needs samples with labels that are whole numbers, found torch.float32 of shape "
            "(1,) for each; set label_classes=0, or name the labels in the data's options",
        ),
        (
            LABELS - 1,
            "setting 'label_classes' is 2, but row 1 has the label -1; -1 stands for a missing label, and for one that "
            "training did not have; correct it or leave the row out",
        ),
        (
            LABELS,
            "setting 'label_classes' is 2, but row 0 has the label 2; set label_classes to one more than the largest "
            "label",
        ),
    ],
)
def test_errors_of_labels(label: torch.Tensor | None, message: str) -> None:
    with pytest.raises(AeframeError) as error:
        LabelConditioned(source(label), 2).batch(torch.arange(4))
    assert str(error.value) == message


class RecordingSource:
    """A source that records the rows it reads."""

    def __init__(self, label: torch.Tensor, *, in_memory: bool) -> None:
        self.in_memory, self.label = in_memory, label
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.label)

    def batch(self, index: torch.Tensor) -> Batch:
        self.read += index.tolist()
        return Batch(torch.zeros(len(index), 1), extras={"label": self.label[index]})


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_wrong_label_of_any_split_is_found_before_training(split: str) -> None:
    label = torch.zeros(5000, dtype=torch.long)
    label[4999] = 2
    right = RecordingSource(torch.zeros(3, dtype=torch.long), in_memory=True)
    splits = Splits(right, right, right)
    check_labels(condition_on_labels(splits, 2))
    setattr(splits, split, RecordingSource(label, in_memory=True))
    with pytest.raises(AeframeError) as error:
        check_labels(condition_on_labels(splits, 2))
    assert str(error.value) == (
        "setting 'label_classes' is 2, but row 4999 has the label 2; set label_classes to one more than the largest "
        "label"
    )


def test_one_label_is_read_of_data_that_are_not_in_memory() -> None:
    found = [RecordingSource(torch.zeros(n, dtype=torch.long), in_memory=False) for n in (10, 0, 3)]
    check_labels(condition_on_labels(Splits(*found), 2))
    assert [source.read for source in found] == [[0], [], [0]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional VAE trained on two distant clusters: class 0 around -2, class 1 around 2."""
    folder = tmp_path_factory.mktemp("labels")
    generator = np.random.default_rng(0)
    y = np.arange(400) % 2
    np.savez(folder / "clouds.npz", x=(4.0 * y[:, None] - 2 + 0.1 * generator.normal(size=(400, 3))), y=y)
    return aeframe.fit(
        model="cvae",
        data={"name": "numbers", "path": str(folder / "clouds.npz"), "key": "x", "label": "y"},
        label_classes=2,
        latent={"dim": 2},
        max_epochs=20,
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
        folder=str(folder / "run"),
    ).folder


@pytest.mark.parametrize("label", [0, 1])
def test_samples_are_of_the_requested_label(run: Path, tmp_path: Path, label: int) -> None:
    command = ["generate", str(run), "-n", "20", "--seed", "1", "-o"]
    assert main([*command, str(tmp_path / "a.npy"), "--label", str(label)]) == 0
    assert main([*command, str(tmp_path / "b.npy"), "--condition", "1,0" if label == 0 else "0,1"]) == 0
    x = np.load(tmp_path / "a.npy")
    assert (np.sign(x.mean(1)) == (1 if label else -1)).all()
    assert (x == np.load(tmp_path / "b.npy")).all()


def test_evaluate_reads_the_labels_of_the_run(run: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(run)]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--label", "2"],
            "model 'cvae' has the labels 0 to 1, found --label 2; choose one of these labels",
        ),
        (
            [],
            "model 'cvae' needs a condition of shape (1, 2), found none; set condition=, or the labels of the samples "
            "(0 to 1)",
        ),
    ],
)
def test_errors_of_a_requested_label(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["generate", str(run), "-n", "5", "-o", str(tmp_path / "x.npy"), *options]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "x.npy").exists()
