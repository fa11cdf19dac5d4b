"""Folders of images: their files, splits and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aeframe import AeframeError
from aeframe_image.decode import EXTENSIONS
from aeframe_image.folder import ImageFolder
from aeframe_image.listing import images_below
from aeframe_image.pictures import Files

LISTED = ", ".join(sorted(EXTENSIONS))


def picture(path: Path, value: int = 0, shape: tuple[int, ...] = (4, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


def loaded(folder: Path, **options: Any) -> dict[str, Files]:
    return dict(ImageFolder(path=str(folder), **options).load())  # type: ignore[arg-type]


def message(folder: Path, **options: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        loaded(folder, **options)
    return str(caught.value)


def test_images_are_found_at_any_depth(tmp_path: Path) -> None:
    wanted = [
        picture(tmp_path / "a" / "b" / "c.PNG"),
        picture(tmp_path / "a" / "x.jpg"),
        picture(tmp_path / "z.jpeg"),
    ]
    picture(tmp_path / ".hidden" / "a.png")
    picture(tmp_path / ".a.png")
    (tmp_path / "notes.txt").write_text("not an image")
    assert images_below(tmp_path) == wanted


def test_a_plain_folder_is_split_by_seed(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{n:02}.png") for n in range(20)]
    splits = loaded(tmp_path)
    assert {name: len(split) for name, split in splits.items()} == {"train": 16, "validation": 2, "test": 2}
    assert sorted(path for split in splits.values() for path in split.files) == paths
    assert all(split.labels is None for split in splits.values())
    assert loaded(tmp_path)["test"].files == splits["test"].files
    assert loaded(tmp_path, seed=1)["test"].files != splits["test"].files
    assert len(loaded(tmp_path, test=0.5)["test"]) == 10


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_split_and_class_folders(tmp_path: Path, validation: str) -> None:
    for split in ("train", validation, "test"):
        for kind in ("cat", "dog"):
            picture(tmp_path / split / kind / "deep" / "a.png")
    # A class of one split counts in the numbering of all.
    picture(tmp_path / "test" / "bird" / "a.png")
    splits = loaded(tmp_path)
    assert list(splits) == ["train", "validation", "test"]
    labels = [split.labels.tolist() for split in splits.values() if split.labels is not None]
    assert labels == [[1, 2], [1, 2], [0, 1, 2]]
    assert {path.relative_to(tmp_path).parts[0] for path in splits["validation"].files} == {validation}


def test_a_missing_split_is_a_random_part_of_train(tmp_path: Path) -> None:
    for n in range(10):
        picture(tmp_path / "train" / f"{n}.png")
    picture(tmp_path / "test" / "a.png")
    splits = loaded(tmp_path, validation=0.3)
    assert {name: len(split) for name, split in splits.items()} == {"train": 7, "validation": 3, "test": 1}


def test_describe_returns_the_shape_of_the_first_image_that_can_be_decoded(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_text("broken")
    picture(tmp_path / "1.png", shape=(7, 6, 3))
    assert ImageFolder(path=str(tmp_path)).describe() == {"shape": (3, 7, 6)}


def test_describe_without_an_image_that_can_be_decoded(tmp_path: Path) -> None:
    (tmp_path / "0.png").touch()
    with pytest.raises(AeframeError) as caught:
        ImageFolder(path=str(tmp_path)).describe()
    assert str(caught.value) == (
        f"dataset 'image_folder' at '{tmp_path}' has no image that can be decoded; the first: image "
        f"'{tmp_path}/0.png' is empty (0 bytes); replace it, or leave such files out with "
        "on_error=skip"
    )


def test_a_missing_folder(tmp_path: Path) -> None:
    assert message(tmp_path / "no") == (
        f"dataset 'image_folder' at '{tmp_path}/no' expects a folder, which does not exist; "
        "set data.path to a folder of images"
    )


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    assert message(tmp_path) == (
        f"dataset 'image_folder' at '{tmp_path}' has no images in '{tmp_path}'; expected files that end in {LISTED}"
    )


def test_images_outside_the_splits(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "a.png")
    stray = picture(tmp_path / "more" / "b.png")
    assert message(tmp_path) == (
        f"dataset 'image_folder' at '{tmp_path}' has split folders, but also images outside them, such as '{stray}'; "
        "move them into a split, or out of the folder"
    )


def test_selected_rows_keep_their_labels(tmp_path: Path) -> None:
    files = Files([tmp_path / "a", tmp_path / "b"], torch.tensor([4, 5]), 7).rows(torch.tensor([1]))
    assert files.files == [tmp_path / "b"]
    assert files.labels is not None
    assert files.labels.tolist() == [5]
    assert files.max_memory_mb == 7
