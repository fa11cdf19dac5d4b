"""`aeframe.fit` with samples in memory: every form trains, splits and columns are those that were asked for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import aeframe
from aeframe.data import vector
from aeframe.data.in_memory import SampleSplits
from aeframe.data.memory import TensorSource
from aeframe.data.samples import Samples
from aeframe.data.vector_in_memory import VectorInMemory
from aeframe.errors import AeframeError
from aeframe.experiment.finished_run import Run
from aeframe.model_store.card import as_markdown
from aeframe.model_store.inputs import FarFromTrainingWarning

torch.set_num_threads(1)

SCALES = np.array([1.0, 10.0, 100.0, 1.0, 0.1])


def rows(num: int = 120, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(num, 5)) * SCALES + 3


@pytest.fixture
def fit(tmp_path: Path) -> Any:
    def fit(x: Any, **settings: Any) -> Run:
        quick = {
            "model": "ae",
            "max_batches": 2,
            "pictures": False,
            "progress": False,
            "batch_size": 16,
            "folder": tmp_path / "run",
        }
        return aeframe.fit(x, **{**quick, "trainer": {"threads": 1, "accelerator": "cpu"}, **settings})

    return fit


class Pairs(Dataset[tuple[torch.Tensor, str]]):
    def __len__(self) -> int:
        return 120

    def __getitem__(self, number: int) -> tuple[torch.Tensor, str]:
        return torch.from_numpy(rows()[number]), f"class {number % 3}"


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Any:
        return iter([torch.zeros(3)])


def frame() -> pd.DataFrame:
    return pd.DataFrame(rows(), columns=list("abcde"))


@pytest.mark.parametrize(
    "x",
    [
        rows(),
        rows().astype(np.float32),
        np.asfortranarray(rows()),
        rows().round().astype(np.int16),
        torch.from_numpy(rows()),
        frame(),
        pl.DataFrame(frame().to_dict("list")),
        scipy.sparse.coo_matrix(rows()),
        scipy.sparse.csr_array(rows()),
        TensorDataset(torch.from_numpy(rows())),
        Pairs(),
        TensorSource(torch.from_numpy(rows())),
        aeframe.Samples(rows()),
        (rows(), np.arange(120) % 3),
    ],
    ids=lambda x: type(x).__name__,
)
def test_rows_of_every_form_are_trained_on(fit: Any, x: Any) -> None:
    run = fit(x)
    assert run.model.spec.shape == (5,)
    assert run.model.data.fingerprint["rows"] == {"train": 96, "validation": 12, "test": 12}
    assert np.isfinite(run.metrics["loss"])


def test_a_condition_in_a_frame_has_its_columns_by_name(fit: Any) -> None:
    condition = pd.DataFrame({"a": [0.0, 1.0] * 60, "b": [5.0] * 120})
    held_out = aeframe.Samples(rows(20), condition=condition[["b", "a"]][:20])
    run = fit(aeframe.Samples(rows(), condition=condition), validation=held_out, test=0.2, model="cvae")
    expected = torch.tensor([[0.0, 5.0], [1.0, 5.0]])
    assert torch.equal(run.model.prepare(rows(2), condition=condition[["b", "a"]][:2]).condition, expected)
    memory = SampleSplits({"train": aeframe.Samples(rows(), condition=condition), "validation": held_out})
    dataset = VectorInMemory(memory)
    splits = dataset.attach(vector.Vector().prepare(dataset))
    assert torch.equal(splits.validation.batch(torch.arange(2)).condition, expected)
    with pytest.raises(AeframeError) as error:
        fit(
            aeframe.Samples(rows(), condition=condition),
            validation=aeframe.Samples(rows(20), condition=condition[["a"]][:20]),
            model="cvae",
        )
    assert str(error.value) == (
        "fit: the condition of the validation samples has the columns a, expected a, b as for the training samples; "
        "add 'b'"
    )


@pytest.mark.parametrize("field", ["condition", "y", "validation"])
def test_columns_whose_names_are_numbers(fit: Any, field: str) -> None:
    table = pd.DataFrame(rows())
    table[5] = ["train", "train", "test"] * 40
    run = fit(table, **{field: "5"}, model="cvae")
    assert run.model.encode(table).shape[0] == 120
    prepared = run.model.prepare(table[[5, 3, 1, 0, 2, 4]])
    if field == "condition":
        assert prepared.condition.tolist()[:3] == [[0, 1], [0, 1], [1, 0]]
    elif field == "y":
        assert prepared.extras["label"].tolist()[:3] == [1, 1, 0]
    else:
        assert run.model.data.fingerprint["rows"] == {"train": 72, "validation": 8, "test": 40}
    with pytest.raises(AeframeError, match="validation='x' is no column of x; its columns are 0, 1, 2"):
        fit(table, validation="x")


def test_a_source_brings_mask_label_and_condition(fit: Any) -> None:
    x, label = torch.from_numpy(rows()).float(), torch.arange(120) % 3
    source = TensorSource(x, mask=x < 1, condition=x[:, :2], extras={"label": label})
    samples = Samples.of(source).unpacked()
    np.testing.assert_array_equal(samples.x, np.where(x < 1, x, np.nan))
    np.testing.assert_array_equal(samples.y, label)
    np.testing.assert_array_equal(samples.condition, x[:, :2])
    run = fit(source, model="cvae", modality={"name": "vector", "missing": "mask"})
    assert run.model.spec.condition == 2


def test_the_run_has_model_history_and_metrics(fit: Any) -> None:
    run = fit(rows())
    opened = aeframe.load(run.folder)
    batch = run.model.prepare(rows())
    torch.testing.assert_close(run.model.encode(batch), opened.encode(batch), rtol=0, atol=0)
    table = run.history
    assert list(table.columns) == ["step", "epoch", "split", "name", "value"]
    test_loss = table[(table["split"] == "test") & (table["name"] == "loss")]["value"]
    assert test_loss.tolist() == [run.metrics["loss"]]


def test_a_memory_map_is_trained_on_without_a_copy(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", rows())
    copied = fit(np.load(tmp_path / "x.npy"), folder=tmp_path / "copied")
    monkeypatch.setattr(vector, "MAX_COPIED_BYTES", 1000)
    mapped = fit(np.load(tmp_path / "x.npy", mmap_mode="r"), folder=tmp_path / "mapped")
    file = fit(None, data={"name": "numbers", "path": tmp_path / "x.npy"}, folder=tmp_path / "file")
    for run in (mapped, file):
        assert run.metrics == pytest.approx(copied.metrics, rel=1e-5)


def test_an_array_is_the_same_as_its_file(fit: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows())
    memory = fit(rows(), folder=tmp_path / "memory")
    file = fit(None, data={"name": "numbers", "path": tmp_path / "x.npy"}, folder=tmp_path / "file")
    assert memory.metrics == file.metrics


def test_held_out_samples_and_fractions(fit: Any, tmp_path: Path) -> None:
    run = fit(rows(), validation=rows(30, seed=1), test=0.25, folder=tmp_path / "a")
    assert run.model.data.fingerprint["rows"] == {"train": 90, "validation": 30, "test": 30}
    run = fit(rows(), validation=0.5, test=(rows(7, seed=1), np.zeros(7, int)), folder=tmp_path / "b")
    assert run.model.data.fingerprint["rows"] == {"train": 60, "validation": 60, "test": 7}


def test_a_column_defines_the_splits(fit: Any) -> None:
    x = frame()
    x["part"] = ["test"] * 20 + ["val"] * 30 + ["train"] * 70
    run = fit(x, validation="part")
    assert run.model.data.fingerprint["rows"] == {"train": 70, "validation": 30, "test": 20}
    assert run.model.spec.shape == (5,)


def test_no_group_is_in_two_splits(fit: Any) -> None:
    groups = np.repeat([f"patient {number}" for number in range(24)], 5)
    run = fit(rows(), groups=groups, validation=0.25, test=0.25)
    parts = [set(groups[index.numpy()]) for index in run.model.data.split.values()]
    assert [len(part) for part in parts] == [12, 6, 6]
    assert len(set.union(*parts)) == 24


def test_weights_are_those_of_repeated_samples(tmp_path: Path) -> None:
    x, weight = rows(40), np.array([1, 3] * 20)
    losses = []
    settings = {"model": "ae", "seed": 1, "batch_size": 1000, "modality": {"name": "vector", "scale": "none"}}
    for train, weights in ((x, weight), (x.repeat(weight, 0), None)):
        module, data = aeframe.build(train, sample_weight=weights, validation=x, test=x, **settings)
        data.setup("fit")
        batch = data.splits.train.batch(torch.arange(len(train)))
        terms = module.model.eval().terms(module.model(batch), module.progress)
        buffer = module.metric_buffer
        losses.append(buffer.add("", "", terms, module.progress, batch).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_categories_are_given_by_their_names(fit: Any) -> None:
    x = frame()
    x["city"], x["age"] = ["Oslo", "Rome", "Kyiv"] * 40, np.linspace(20, 60, 120)
    run = fit(x, model="cvae", condition=["city", "age"])
    model = aeframe.load(run.folder)
    assert model.spec.shape == (5,)
    assert model.spec.condition == 4
    by_name = model.sample(2, seed=0, condition=pd.DataFrame({"city": ["Rome", "Oslo"], "age": [30.0, 40.0]}))
    numbers = torch.tensor([[0.0, 0.0, 1.0, 30.0], [0.0, 1.0, 0.0, 40.0]])
    torch.testing.assert_close(by_name, model.sample(2, seed=0, condition=numbers))
    # The frame has the columns of the condition, so that nothing more need be said.
    torch.testing.assert_close(
        model.encode(x), model.encode(model.prepare(x[list("abcde")], condition=x[["city", "age"]]))
    )
    with pytest.raises(AeframeError, match="without the category 'Osl', did you mean 'Oslo'"):
        model.sample(1, condition=pd.DataFrame({"city": ["Osl"], "age": [3.0]}))


def test_conditions_are_matched_by_the_names_of_columns(fit: Any) -> None:
    x = frame()
    x["size"], x["age"], x["city"] = np.linspace(0, 1, 120), np.linspace(20, 60, 120), ["Oslo", "Rome", "Kyiv"] * 40
    model = fit(x, model="cvae", condition=["size", "age", "city"]).model
    table = pd.DataFrame({"size": [0.5, 0.5], "age": [30.0, 30.0], "city": ["Rome", "Rome"]})
    expected = model.sample(2, seed=0, condition=table)
    # A single category or number is that of all samples.
    one = {"city": "Rome", "age": 30.0, "size": 0.5}
    for condition in (table[["city", "age", "size"]], dict(table), one):
        assert model.sample(2, seed=0, condition=condition).equal(expected)
    assert model.prepare(x[list("abcde")], condition=one).condition[7].tolist() == [0.5, 30.0, 0.0, 0.0, 1.0]
    with pytest.raises(AeframeError) as error:
        model.sample(2, condition={"town": "Rome", "age": 30.0, "size": 0.5})
    assert str(error.value) == (
        "model 'cvae' has a condition of the columns size, age, city, found none named 'city'; pass all of them"
    )


def test_a_category_may_be_that_of_all_samples(fit: Any) -> None:
    x = rows()
    model = fit(x, model="cvae", condition=["Oslo", "Rome", "Kyiv"] * 40).model
    scaled = model.prepare(x[:3]).x
    z = model.encode(scaled, condition="Oslo")
    for method, argument in (("encode", scaled), ("prepare", x[:3]), ("decode", z)):
        results = [getattr(model, method)(argument, condition=value) for value in ("Rome", ["Rome"] * 3)]
        first, second = (result.condition if method == "prepare" else result for result in results)
        assert first.equal(second)
    with pytest.raises(AeframeError, match="trained on a condition without names of columns, found the names city"):
        model.sample(2, condition={"city": "Rome"})


def test_labels_of_any_type(fit: Any) -> None:
    run = fit(rows(), y=["yes", "no", "maybe"] * 40, model="cvae", label_classes=3)
    assert run.model.spec.condition == 3


def test_frames_are_matched_by_the_names_of_columns(fit: Any) -> None:
    model = fit(frame()).model
    codes = model.encode(frame())
    shuffled = frame()[list("edcba")].assign(extra="words")
    torch.testing.assert_close(model.encode(shuffled), codes, rtol=0, atol=0)
    with pytest.raises(AeframeError, match="no column 'c' for columns"):
        model.encode(frame().drop(columns="c"))


def test_prepare_and_restore_are_inverse(fit: Any) -> None:
    model = fit(frame()).model
    restored = model.restore(model.prepare(frame()).x)
    pd.testing.assert_frame_equal(restored, frame(), rtol=1e-5)


def test_a_warning_names_the_line_of_the_program(fit: Any) -> None:
    model = fit(rows()).model
    for method in (model.encode, model.reconstruct, model.score):
        with pytest.warns(FarFromTrainingWarning) as caught:
            method(rows() * 1000)
        assert [warning.filename for warning in caught] == [__file__]


def test_unscaled_values_are_said_once(fit: Any) -> None:
    model = fit(rows() * 1e4).model
    with pytest.warns(FarFromTrainingWarning, match=r"trained with values from -\d.* x has values from .*e\+"):
        model.reconstruct(rows() * 1e4)


FAR: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "vector": (frame(), frame() * 1e4, {}),
    "series": (rows(), rows() * 1e4, {"modality": {"name": "series", "window": 8}, "batch_size": 8}),
    "counts": (
        rows().round().clip(0),
        (rows() * 1e4).round().clip(0),
        {"modality": {"name": "vector", "domain": "count", "scale": "none"}, "loss": "poisson"},
    ),
}


@pytest.mark.parametrize(("x", "far", "settings"), FAR.values(), ids=FAR)
def test_prepared_samples_in_another_unit_are_said(fit: Any, x: Any, far: Any, settings: dict[str, Any]) -> None:
    model = fit(x, **settings).model
    with warnings.catch_warnings():
        warnings.simplefilter("error", FarFromTrainingWarning)
        model.encode(model.prepare(x))
    with pytest.warns(FarFromTrainingWarning, match="check that the samples have the unit of the training data"):
        model.encode(model.prepare(far))


def test_a_run_is_resumed_with_the_samples(fit: Any, tmp_path: Path) -> None:
    first = fit(rows(), max_batches=None, max_epochs=1)
    again = aeframe.fit(rows(), resume=first.folder, max_epochs=2)
    straight = fit(rows(), max_batches=None, max_epochs=2, folder=tmp_path / "straight")
    assert again.metrics == straight.metrics


def test_a_resumed_run_has_the_modality_of_the_run(fit: Any) -> None:
    quick = {"max_batches": None, "max_epochs": 1, "batch_size": 8}
    first = fit(rows(), modality={"name": "series", "window": 8}, **quick)
    again = aeframe.fit(rows(), resume=first.folder, max_epochs=2)
    assert again.model.spec.shape == (5, 8)


SENTENCES = [f"a {animal} sees {number}" for number in range(20) for animal in ("cat", "dog", "owl")]
CHANGED: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "another value": (rows(), rows() + np.eye(120, 5), {}),
    "another column": (frame(), frame().assign(more=1.0), {}),
    "another order of columns": (frame(), frame()[list("edcba")], {}),
    "other words": (SENTENCES, [sentence.replace("cat", "lion") for sentence in SENTENCES], {}),
    "another image": (
        np.zeros((60, 8, 8), np.uint8),
        np.full((60, 8, 8), 1, np.uint8),
        {"latent": {"dim": 2}, "encoder": {"channels": [4]}},
    ),
}


@pytest.mark.parametrize(("x", "changed", "settings"), CHANGED.values(), ids=CHANGED)
def test_changed_samples_are_said_and_prepared_as_in_training(
    fit: Any, capsys: pytest.CaptureFixture[str], x: Any, changed: Any, settings: dict[str, Any]
) -> None:
    first = fit(x, max_batches=None, max_epochs=1, **settings)
    assert "not those of training" not in capsys.readouterr().err
    again = aeframe.fit(changed, resume=first.folder, max_epochs=2)
    assert again.model.spec == first.model.spec
    note = f"the samples of the train split are not those of training: other values in as many rows ({len(x)})"
    assert f"note: {note}\n" in capsys.readouterr().err
    assert str(again.model.modality.state()) == str(first.model.modality.state())


def test_one_changed_sample_of_many_is_said(fit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    x = rows(3000)
    first = fit(x, y=["yes", "no"] * 1500, max_batches=None, max_epochs=1, batch_size=500)
    changed = x.copy()
    changed[1] += 1
    for epochs, (samples, labels) in enumerate(((changed, ["yes", "no"]), (x, ["no", "yes"]), (x, ["yes", "no"])), 2):
        aeframe.fit(samples, y=labels * 1500, resume=first.folder, max_epochs=epochs)
        # The third has the samples of training again.
        assert ("not those of training" in capsys.readouterr().err) == (epochs < 4)


def test_a_resumed_run_keeps_the_categories_of_its_condition(fit: Any) -> None:
    settings = {"model": "cvae", "max_batches": None, "max_epochs": 1}
    first = fit(rows(), condition=["north", "south"] * 60, **settings)
    again = aeframe.fit(rows(), condition=["north"] * 120, resume=first.folder, max_epochs=2)
    assert again.model.spec.condition == 2
    with pytest.raises(AeframeError, match="was trained without the category 'east'; its categories are north, south"):
        aeframe.fit(rows(), condition=["north", "east"] * 60, resume=first.folder, max_epochs=3)


class Counting(Callback):
    def __init__(self) -> None:
        self.batches = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches += 1


def test_callbacks_and_loggers_are_objects(fit: Any, tmp_path: Path) -> None:
    callback, logger = Counting(), CSVLogger(tmp_path / "log")
    fit(rows(), callbacks=[callback], logger=logger)
    assert callback.batches == 2
    assert list((tmp_path / "log").rglob("metrics.csv"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": rows()[:, 0]}, r"no modality takes numpy.ndarray of shape \(120,\) and dtype float64 as samples"),
        ({"x": rows(), "validation_data": rows(20)}, "has no argument 'validation_data' for samples"),
        ({"x": rows(), "validation_data": rows(20)}, "did you mean 'validation'"),
        ({"x": rows(), "lr": 1e-3}, "a run has no setting and no part 'lr', did you mean 'optimizer.lr'"),
        ({"x": rows(), "device": "cpu"}, "did you mean 'trainer.accelerator'"),
        ({"x": rows(), "model": "VAE"}, "did you mean 'vae'"),
        ({"x": Endless()}, "an IterableDataset has none"),
        ({"x": rows()[:0]}, "x has no samples for the train split"),
        ({"x": frame().assign(a="word"), "modality": "vector"}, "column 'a' of (str|object), expected numbers"),
        ({"x": frame(), "y": "aa"}, "y='aa' is no column of x"),
        ({"x": rows(), "y": "a"}, "has no named columns"),
        ({"x": rows(), "y": [1, 2]}, r"y has shape \(2,\), and x has 120 samples"),
        ({"x": rows(), "sample_weight": -np.ones(120)}, "sample_weight must be finite, at least 0"),
        ({"x": rows(), "data": "digits"}, "both name the data"),
        ({"x": None, "data": rows()}, "found ndarray; pass samples as the first argument"),
        ({"x": None, "y": [1, 2]}, "y= belongs to samples in memory"),
        ({"x": rows(), "validation": rows()[:, :3]}, "has rows of shape \\(3,\\), expected \\(5,\\)"),
        ({"x": rows(), "optimizer": torch.optim.SGD}, "optimizer expects a name"),
        ({"x": rows(), "callbacks": [print]}, "callbacks expects objects of lightning.pytorch.callbacks.Callback"),
        ({"x": rows(), "condition": [None, *"ab" * 59, "a"]}, "row 0 has no label or category"),
        ({"x": np.where(rows() > 3, np.nan, 1.0)}, "the value is missing"),
    ],
)
def test_errors(fit: Any, tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError, match=message):
        fit(**arguments)
    assert not (tmp_path / "run").exists()


def test_a_batch_size_gives_way_unless_it_is_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    settings = {"model": "ae", "pictures": False, "max_epochs": 1, "root": str(tmp_path)}
    run = aeframe.fit(x, **settings)
    note = "batch_size=8, because there are 24 training samples"
    assert note in capfd.readouterr().err
    assert run.model.config["batch_size"] == 8
    assert f"- {as_markdown(note)}\n" in (run.folder / "model" / "card.md").read_text()
    with pytest.raises(AeframeError, match="batch_size=64 is larger than the 24 training samples"):
        aeframe.fit(x, **settings, batch_size=64)
