"""Random crops and flips of training images: their distribution and reproducibility."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aeframe import AeframeError
from aeframe.data.loader import Loader
from aeframe.data.plan import BatchPlan
from aeframe_image.arrays import ImageNPZ
from aeframe_image.augment import Augment
from aeframe_image.modality import Image


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_flip_mirrors_half_of_the_images() -> None:
    x = torch.randint(0, 256, (64, 3, 4, 5), dtype=torch.uint8)
    augmented = Augment(flip=True)(x)
    mirrored = (augmented == x.flip(3)).flatten(1).all(1)
    unchanged = (augmented == x).flatten(1).all(1)
    assert (mirrored | unchanged).all()
    assert 16 < int(mirrored.sum()) < 48
    assert augmented.dtype == torch.uint8


def test_crop_returns_random_windows_of_the_reflected_image() -> None:
    x = torch.rand(200, 1, 5, 6)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    augmented = Augment(crop=2)(x)
    offsets = set()
    for image, wide in zip(augmented, padded, strict=True):
        windows = {(i, j): wide[:, i : i + 5, j : j + 6] for i in range(5) for j in range(5)}
        offsets |= {offset for offset, window in windows.items() if torch.equal(window, image)}
    # All 25 windows occur among 200 images.
    assert len(offsets) == 25


def test_without_options_images_are_unchanged() -> None:
    x = torch.rand(2, 1, 5, 6)
    assert Augment()(x) is x


def test_only_training_images_are_augmented_and_resumption_is_reproducible(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x_train=pixels[:20], x_val=pixels[20:25], x_test=pixels[25:])
    splits = Image(random_crop=2, flip=True).prepare(ImageNPZ(path=str(tmp_path / "a.npz")))
    rows = torch.arange(5)
    stored = torch.from_numpy(pixels).unsqueeze(1) / 255
    assert torch.equal(splits.validation.batch(rows).x, stored[20:25])
    assert torch.equal(splits.test.batch(rows).x, stored[25:])

    def epoch(number: int, start: int) -> list[torch.Tensor]:
        loader = Loader(splits.train, BatchPlan(20, 5, seed=3, shuffle=True))
        loader.sampler.set_epoch(number)
        loader.load_state_dict({"epoch": number, "batch": start})
        return [batch.x for batch in loader]  # type: ignore[union-attr]

    uninterrupted, resumed = epoch(1, 0), epoch(1, 2)
    assert torch.equal(torch.cat(uninterrupted[2:]), torch.cat(resumed))
    assert not torch.equal(torch.cat(uninterrupted).sort(0).values, torch.cat(epoch(2, 0)).sort(0).values)


@pytest.mark.parametrize("margin", [8, -1])
def test_a_margin_that_cannot_be_reflected_is_refused(tmp_path: Path, margin: int) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((30, 8, 9), np.uint8))
    with pytest.raises(AeframeError) as caught:
        Image(random_crop=margin).spec(ImageNPZ(path=str(tmp_path / "a.npz")))
    assert str(caught.value) == (
        "modality 'image' needs random_crop from 0 to 7 pixels for images of 1 x 8 x 9 (channels x height x width), "
        f"found {margin}; an eighth of the side is usual"
    )
