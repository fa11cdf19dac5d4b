"""Preparing images with the shape and the split of an earlier run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from aeframe import AeframeError
from aeframe.testing.saved_state import assert_state_restores_data
from aeframe_image.arrays import ImageNPZ
from aeframe_image.digits import Digits
from aeframe_image.folder import ImageFolder
from aeframe_image.modality import Image


def random_images(num: int, *, side: int = 6, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (num, side, side), np.uint8)


@pytest.mark.parametrize("options", [{}, {"domain": "binary", "binarize": "sample"}, {"random_crop": 1, "flip": True}])
def test_the_dataset_digits(options: dict[str, Any]) -> None:
    assert_state_restores_data(lambda: Image(**options), Digits)


@pytest.mark.parametrize("max_memory_mb", [2048, 0])
def test_images_added_to_a_moved_folder_change_no_split(tmp_path: Path, max_memory_mb: int) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, pixels in enumerate(random_images(10)):
        Pillow.fromarray(pixels).save(folder / f"{number}.png")

    def change() -> None:
        shutil.move(folder, tmp_path / "moved")
        for number, pixels in enumerate(random_images(5, seed=1)):
            Pillow.fromarray(pixels).save(tmp_path / "moved" / f"-{number}.png")

    def dataset() -> ImageFolder:
        path = folder if folder.exists() else tmp_path / "moved"
        return ImageFolder(path=path, max_memory_mb=max_memory_mb)

    assert len(assert_state_restores_data(Image, dataset, change=change).train) == 8


def test_rows_added_to_an_array_change_no_split(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, random_images(20))
    assert_state_restores_data(
        Image,
        lambda: ImageNPZ(path=path),
        change=lambda: np.save(path, np.concatenate([random_images(20), random_images(9, seed=1)])),
    )
    with pytest.raises(AeframeError, match=r"has images of 1 x 5 x 5 .*, expected 1 x 6 x 6"):
        assert_state_restores_data(
            Image,
            lambda: ImageNPZ(path=path),
            change=lambda: np.save(path, random_images(29, side=5)),
        )
