"""Images prepared by the shape and the split of an earlier run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from aeframe import AeframeError
from aeframe.testing.saved_state import assert_state_restores_data
from aeframe_image.arrays import ImageNPZ
from aeframe_image.digits import Digits
from aeframe_image.folder import ImageFolder
from aeframe_image.modality import Image


def drawn(num: int, *, side: int = 6, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (num, side, side), np.uint8)


@pytest.mark.parametrize("options", [{}, {"domain": "binary", "binarize": "sample"}, {"random_crop": 1, "flip": True}])
def test_bundled_images(options: dict[str, Any]) -> None:
    assert_state_restores_data(lambda: Image(**options), Digits)


@pytest.mark.parametrize("max_memory_mb", [2048, 0])
def test_a_folder_that_was_moved_and_added_to(tmp_path: Path, max_memory_mb: int) -> None:
    place = tmp_path / "images"
    place.mkdir()
    for number, pixels in enumerate(drawn(10)):
        Picture.fromarray(pixels).save(place / f"{number}.png")

    def change() -> None:
        shutil.move(place, tmp_path / "moved")
        for number, pixels in enumerate(drawn(5, seed=1)):
            Picture.fromarray(pixels).save(tmp_path / "moved" / f"-{number}.png")

    def dataset() -> ImageFolder:
        path = place if place.exists() else tmp_path / "moved"
        return ImageFolder(path=path, max_memory_mb=max_memory_mb)

    assert len(assert_state_restores_data(Image, dataset, change=change).train) == 8


def test_rows_that_are_added_to_an_array(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, drawn(20))
    assert_state_restores_data(
        Image, lambda: ImageNPZ(path=path), change=lambda: np.save(path, np.concatenate([drawn(20), drawn(9, seed=1)]))
    )
    with pytest.raises(AeframeError, match=r"has images of 1 x 5 x 5 .* where 1 x 6 x 6 is expected"):
        assert_state_restores_data(
            Image,
            lambda: ImageNPZ(path=path),
            change=lambda: np.save(path, drawn(29, side=5)),
        )
