"""Datasets of the Hugging Face library, written to a folder and read without network access."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from aeframe import AeframeError
from aeframe_image.huggingface import HuggingFaceImages
from aeframe_image.modality import Image


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    library = pytest.importorskip("datasets", reason="the extra 'huggingface' is not installed")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    library.disable_progress_bars()
    return library


def png(value: int) -> dict[str, bytes | None]:
    file = io.BytesIO()
    Pillow.fromarray(np.full((4, 5), value, np.uint8)).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


def table(library: Any, values: range, **columns: Any) -> Any:
    found = library.Dataset.from_dict(
        {"picture": [png(v) for v in values], "digit": [v % 3 for v in values], **columns}
    )
    return found.cast_column("picture", library.Image())


@pytest.mark.parametrize("memory", [2048, 0])
def test_splits_and_labels_of_a_saved_dataset(hub: Any, tmp_path: Path, memory: int) -> None:
    splits = {"train": table(hub, range(8)), "test": table(hub, range(8, 11)), "extra": table(hub, range(2))}
    hub.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    dataset = HuggingFaceImages(path=str(tmp_path / "saved"), label="digit", max_memory_mb=memory)
    assert dataset.describe() == {"shape": (1, 4, 5)}
    found = Image().prepare(dataset)
    assert [len(found.train), len(found.validation), len(found.test)] == [7, 1, 3]
    batch = found.test.batch(torch.tensor([2, 0]))
    assert (batch.x[:, 0, 0, 0] * 255).round().tolist() == [10, 8]
    assert batch.extras["label"].tolist() == [1, 2]


def test_parquet_files_are_read(hub: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table(hub, range(8)).to_parquet(str(tmp_path / "data" / "train-00000-of-00001.parquet"))
    table(hub, range(8, 11)).to_parquet(str(tmp_path / "data" / "validation-00000-of-00001.parquet"))
    found = Image().prepare(HuggingFaceImages(path=str(tmp_path)))
    assert [len(found.train), len(found.validation), len(found.test)] == [7, 3, 1]
    assert (found.validation.batch(torch.arange(3)).x[:, 0, 0, 0] * 255).round().tolist() == [8, 9, 10]


def test_unusable_rows_are_skipped_and_listed(hub: Any, tmp_path: Path) -> None:
    rows = [png(value) for value in range(29)]
    rows[3]["bytes"] = rows[3]["bytes"][:40]  # type: ignore[index]
    pictures = hub.Dataset.from_dict({"image": [*rows, None]}, features=hub.Features({"image": hub.Image()}))
    pictures.save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(AeframeError):
        Image().prepare(HuggingFaceImages(path=str(tmp_path / "saved")))
    found = Image(on_error="skip").prepare(HuggingFaceImages(path=str(tmp_path / "saved")))
    assert sorted(found.skipped, reverse=True) == [
        f"image '{tmp_path}/saved/train, row 3' cannot be decoded (no image format is recognised); replace it, or "
        "leave such files out with on_error=skip",
        f"image '{tmp_path}/saved/train, row 29' is missing; remove the row, or leave such rows out with on_error=skip",
    ]
    assert len(found.train) + len(found.validation) + len(found.test) == 28


def message(**options: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        HuggingFaceImages(**options).load()
    return str(caught.value)


def test_missing_columns_and_splits_are_errors(hub: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "saved")
    who = f"dataset 'image_huggingface' at '{path}'"
    table(hub, range(8), name=["a"] * 8).save_to_disk(path)
    assert message(path=path, column="pictures") == (
        f"{who} has no column of images 'pictures', did you mean 'picture'?; the columns of split 'train' are picture, "
        "digit, name; set data.column, or cast one to datasets.Image"
    )
    assert message(path=path, label="digits") == (
        f"{who} has no column 'digits', did you mean 'digit'?; the columns of split 'train' are picture, digit, name"
    )
    assert message(path=path, label="name") == (
        f"{who}: row 0 of split 'train' has the label 'a' in 'name', expected a whole number of 64 bits; choose "
        "another column, or leave data.label out"
    )
    two = str(tmp_path / "two")
    hub.DatasetDict({"a": table(hub, range(2)), "b": table(hub, range(2))}).save_to_disk(two)
    assert message(path=two) == (
        f"dataset 'image_huggingface' at '{two}' has the splits a, b, but no 'train'; rename one"
    )
    nowhere = str(tmp_path / "nowhere")
    assert message(path=nowhere).startswith(f"dataset 'image_huggingface' at '{nowhere}' cannot be opened (")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert message(path="ylecun/mnist") == (
        "dataset 'image_huggingface' at 'ylecun/mnist' requires the library 'datasets', which is not installed (import "
        "of datasets halted; None in sys.modules); install it with pip install 'aeframe-image[huggingface]'"
    )
