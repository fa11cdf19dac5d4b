"""Strings in memory: accepted forms, labels, errors, and agreement with files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe import AeframeError
from aeframe.data.in_memory import SampleSplits, memory_dataset
from aeframe.model_store.inputs import FarFromTrainingWarning
from aeframe_text.modality import Text
from aeframe_text.text_in_memory import TextInMemory

TEXTS = [f"the {a} {b} sees {c} ." for a in ("old", "red") for b in ("cat", "dog", "bird") for c in ("me", "us", "you")]
SMILES = ["CCO", "CCN", "c1ccccc1", "CC(=O)O", "CCCl", "C[C@@H](Br)Cl", "CCCC", "OCC", "NCC", "CBr"] * 2
NEXT_STEP = "; correct or remove it, or set modality.on_error=skip to leave such texts out of training"

FORMS: dict[str, Callable[[list[str]], Any]] = {
    "list": list,
    "array": np.array,
    "array of objects": lambda texts: np.array(texts, dtype=object),
    "series": pd.Series,
    "series of objects": lambda texts: pd.Series(texts, dtype=object, name="review"),
}


def settings(folder: Path, **options: Any) -> dict[str, Any]:
    """Return the settings of a small run of two batches."""
    small = {"model": "vae", "encoder": {"embedding": 4, "hidden": 4}, "latent": {"dim": 2}, "batch_size": 4}
    cpu = {"accelerator": "cpu", "threads": 1}
    return {**small, "max_batches": 2, "pictures": False, "trainer": cpu, "folder": folder / "run", **options}


def prepared(x: Any, *, y: Any = None, modality: Text | None = None, **splits: Any) -> Any:
    """Return the splits of samples in memory."""
    by_split = {"train": aeframe.Samples(x, y), **{split: aeframe.Samples.of(held) for split, held in splits.items()}}
    return (modality or Text()).prepare(TextInMemory(SampleSplits(by_split)))


def error_of(x: Any, **options: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        prepared(x, modality=Text(**options))
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_trains_and_is_prepared_as_a_file(form: str, tmp_path: Path) -> None:
    x = FORMS[form](TEXTS)
    assert memory_dataset(x, None) == "text_in_memory"
    run = aeframe.fit(x, **settings(tmp_path))
    batch = run.model.prepare(x)
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    expected = run.model.modality.read(tmp_path / "texts.txt")
    assert torch.equal(batch.x, expected.x)
    assert batch.mask is not None
    assert expected.mask is not None
    assert torch.equal(batch.mask, expected.mask)
    assert batch.index is not None
    assert batch.index.tolist() == list(range(len(TEXTS)))
    assert run.model.restore(batch.x) == TEXTS
    assert all(isinstance(text, str) for text in run.model.restore(run.model.sample(3)))
    assert run.model.encode(batch).shape == (len(TEXTS), 2)


def test_unknown_words_are_said(tmp_path: Path) -> None:
    modality = Text()
    modality.prepare(TextInMemory(SampleSplits({"train": aeframe.Samples(TEXTS)})))
    (tmp_path / "texts.txt").write_text("ein alter Hund .\n")
    message = "modality text: 3 of 4 tokens are not in the vocabulary of the training texts, such as 'ein'; check that"
    with pytest.warns(FarFromTrainingWarning, match=message):
        modality.prepare_samples(["ein alter Hund ."])
    with pytest.warns(FarFromTrainingWarning, match=message):
        modality.read(tmp_path / "texts.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        modality.prepare_samples(["the alter cat sees"])


def test_molecules_train_and_are_restored(tmp_path: Path) -> None:
    run = aeframe.fit(SMILES, modality={"tokeniser": "smiles"}, **settings(tmp_path))
    assert run.model.restore(run.model.prepare(SMILES).x) == SMILES
    assert run.model.restore(run.model.prepare(["CCO"]).x) == ["CCO"]


def test_a_column_of_strings_is_read_from_files_by_its_name(tmp_path: Path) -> None:
    modality = Text()
    prepared(pd.DataFrame({"review": TEXTS}), modality=modality)
    path = tmp_path / "texts.csv"
    modality.write(modality.prepare_samples(TEXTS).x, path)
    assert path.read_text().splitlines()[0] == "review"
    assert modality.decode(modality.read(path).x) == TEXTS
    named = Text()
    prepared(pd.Series(TEXTS, name="review"), modality=named)
    assert named.state()["reading"]["column"] == "review"


@pytest.mark.parametrize("x", [["a b", None], np.array(["a", "b"]), pd.Series(["a", None]), np.array(["a"], object)])
def test_strings_are_inferred(x: Any) -> None:
    assert memory_dataset(x, None) == "text_in_memory"
    assert memory_dataset(x, "text") == "text_in_memory"


@pytest.mark.parametrize(
    "x",
    [[1, 2], ["a", 1], [None], np.zeros(3), np.array([["a"]]), pd.Series([1.0, 2.0]), pd.DataFrame({"a": ["b"]}), "a"],
)
def test_other_objects_are_no_texts(x: Any) -> None:
    assert not TextInMemory.accepts(x)


@pytest.mark.parametrize(
    ("y", "codes", "names"),
    [
        (["dog", "cat", "dog"] * 6, [1, 0, 1], ("cat", "dog")),
        ([10, 2, 10] * 6, [10, 2, 10], ()),
        ([-1, 1, -1] * 6, [0, 1, 0], ("-1", "1")),
        ([True, False, True] * 6, [1, 0, 1], ("False", "True")),
        ([2.0, 10.0, 2.0] * 6, [0, 1, 0], ("2", "10")),
    ],
)
def test_labels_have_the_codes_of_the_dataset(y: list[Any], codes: list[int], names: tuple[str, ...]) -> None:
    dataset = TextInMemory(SampleSplits({"train": aeframe.Samples(TEXTS, y)}))
    assert dataset.label_names == (names or None)
    modality = Text()
    assert modality.spec(dataset).extras == {"words": (), "label": ()}
    splits = modality.prepare(dataset)
    for source in (splits.train, splits.validation, splits.test):
        batch = source.batch(torch.arange(len(source)))
        assert batch.index is not None
        texts = modality.decode(batch.x)
        assert batch.extras["label"].tolist() == [codes[TEXTS.index(text) % 3] for text in texts]
    assert modality.state()["labels"] == list(names)


def test_a_label_that_only_a_held_out_split_has_keeps_its_code() -> None:
    splits = prepared(TEXTS, y=["b"] * 18, validation=(TEXTS[:2], ["a", "b"]), test=TEXTS[:1])
    assert splits.train.batch(torch.arange(1)).extras["label"].tolist() == [1]
    assert splits.validation.batch(torch.arange(2)).extras["label"].tolist() == [0, 1]
    # Samples without labels.
    assert splits.test.batch(torch.arange(1)).extras["label"].tolist() == [-1]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [("  ", "is empty"), (None, "is missing"), (float("nan"), "is missing"), (pd.NA, "is missing"),
     (3, "is of type int, expected a string")],
)  # fmt: skip
def test_unusable_texts_are_refused_or_skipped_by_number(bad: Any, problem: str) -> None:
    x = [*TEXTS[:4], bad, *TEXTS[4:]]
    assert error_of(x) == f"text 4 {problem}{NEXT_STEP}"
    splits = prepared(x, modality=Text(on_error="skip"))
    assert splits.skipped == [f"text 4 {problem}"]
    assert len(splits.train) + len(splits.validation) + len(splits.test) == len(TEXTS)
    modality = Text(on_error="skip")
    prepared(TEXTS, modality=modality)
    with pytest.raises(AeframeError, match=f"^text 4 {problem}"):
        modality.prepare_samples(x)


def test_skipped_texts_exclude_weights(tmp_path: Path) -> None:
    x, weights = [*TEXTS, ""], np.ones(len(TEXTS) + 1)
    with pytest.raises(AeframeError, match=r"^fit: sample_weight has"):
        aeframe.fit(
            x, sample_weight=weights, validation=TEXTS[:2], test=TEXTS[:2], **settings(tmp_path),
            modality={"on_error": "skip"},
        )  # fmt: skip


def test_what_is_no_column_of_strings_is_an_error() -> None:
    expected = (
        "modality 'text' takes a list, an array (N,) or a series of at least one string, found {}; pass each "
        "text as one string"
    )
    modality = Text()
    prepared(TEXTS, modality=modality)
    for x, found in (
        ("cat", "a single string"),
        ([], "an empty list"),
        (np.zeros((2, 3)), "numpy.ndarray of shape (2, 3)"),
    ):
        with pytest.raises(AeframeError) as caught:
            modality.prepare_samples(x)
        assert str(caught.value) == expected.format(found)
    with pytest.raises(AeframeError) as caught:
        modality.prepare_samples(pd.DataFrame({"a": TEXTS, "b": TEXTS}))
    assert str(caught.value) == (
        "modality 'text' takes one column of strings, found a data frame with the columns a, b; pass one of them: "
        "frame['a']"
    )
