"""Simulated shapes with known factors of variation, and factors in NPZ files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.types import FACTORS
from aeframe_image.arrays import ImageNPZ
from aeframe_image.modality import Image
from aeframe_image.shapes import FACTORS as SIZES
from aeframe_image.shapes import Shapes, draw

SMALLEST, LARGEST = np.zeros(5, np.int64), np.array([*SIZES.values()]) - 1


@pytest.mark.parametrize("shape", range(3))
def test_factors_move_scale_and_turn_the_shape(shape: int) -> None:
    def image(scale: int, rotation: int, x: int, y: int, size: int = 48) -> np.ndarray:
        return draw(np.array([[shape, scale, rotation, x, y]]), size)[0].astype(int)

    # A quarter turn of the whole picture also turns the position.
    assert np.abs(np.rot90(image(3, 1, 2, 6), -1) - image(3, 4, 9 - 6, 2)).max() <= 1
    assert image(4, 0, 5, 5).sum() > 2 * image(0, 0, 5, 5).sum() > 0
    # One step of a position is 0.44 / 9 = 11 / 225 widths.
    original = image(2, 0, 4, 4, 225)
    assert np.abs(image(2, 0, 5, 4, 225) - np.roll(original, 11, 1)).max() <= 1
    assert np.abs(image(2, 0, 4, 5, 225) - np.roll(original, 11, 0)).max() <= 1


def test_every_combination_has_an_image_of_its_own_inside_the_frame() -> None:
    rows = np.random.default_rng(0).choice(18_000, 1500, replace=False)
    images = draw(np.stack(np.unravel_index(rows, (3, 5, 12, 10, 10)), 1), 32)
    assert len(np.unique(images.reshape(1500, -1), axis=0)) == 1500
    # The same area wherever the shape is: nothing is cut off.
    corners = [draw(np.array([[1, 4, 0, x, y]]), 64)[0].sum() / 255 for x in (0, 5, 9) for y in (0, 5, 9)]
    assert corners == pytest.approx([np.pi / 2 * (0.26 * 64) ** 2] * 9, rel=0.01)


def test_factors_reach_the_batch() -> None:
    dataset = Shapes(images=100, size=16, seed=1)
    splits = Image().prepare(dataset)
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [70, 10, 20]
    assert splits.factor_names == ("shape", "scale", "rotation", "x", "y")
    batch = splits.test.batch(torch.arange(20))
    assert torch.equal(batch.extras["label"], batch.extras[FACTORS][:, 0])
    assert torch.equal(batch.x[:, 0], torch.from_numpy(draw(batch.extras[FACTORS].numpy(), 16)).float() / 255)
    again, other = (Image().prepare(Shapes(images=100, size=16, seed=seed)).test for seed in (1, 2))
    assert torch.equal(again.batch(torch.arange(20)).x, batch.x)
    assert not torch.equal(other.batch(torch.arange(20)).x, batch.x)
    # Of another size, converted by the modality.
    resized = Image(size=8).prepare(dataset).test.batch(torch.arange(20))
    assert torch.equal(resized.extras[FACTORS], batch.extras[FACTORS])


def test_options_are_checked() -> None:
    with pytest.raises(AeframeError) as caught:
        Shapes(images=20_000)
    assert str(caught.value) == (
        "dataset 'shapes' requires images from 3 to 18000 and size of at least 8, found 20000 and 32"
    )


def test_factors_of_an_npz_file(tmp_path: Path) -> None:
    x = np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8)
    factors = np.stack([x[:, 0, 0] % 3, x[:, 0, 0] % 2], 1)
    for number, arrays in enumerate(
        [
            {"x": x, "factors": factors},
            {"imgs": x, "latents_classes": factors},
            {"x_train": x, "factors_train": factors, "x_test": x, "test_factors": factors},
        ]
    ):
        path = tmp_path / f"{number}.npz"
        np.savez(path, **arrays)
        dataset = ImageNPZ(path=path, key="imgs" if "imgs" in arrays else None)
        splits = Image().prepare(dataset)
        assert splits.factor_names == ("factor 0", "factor 1")
        for source in (splits.train, splits.validation, splits.test):
            batch = source.batch(torch.arange(len(source)))
            pixel = (batch.x[:, 0, 0, 0] * 255).round().long()
            assert torch.equal(batch.extras[FACTORS], torch.stack([pixel % 3, pixel % 2], 1))
    np.savez(tmp_path / "bad.npz", x=x, factors=factors[:, 0])
    with pytest.raises(AeframeError) as caught:
        ImageNPZ(path=tmp_path / "bad.npz").load()
    assert str(caught.value).endswith(
        "array 'factors' is uint8 (40,), expected whole numbers (40, F), the category of each of F factors for each "
        "image of 'x'; correct or remove it"
    )
