"""Images of more than 8 bits: their values of black and white, inferred, stated, chosen, kept and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from aeframe import AeframeError
from aeframe.data import Source
from aeframe.data.file_samples import names_of
from aeframe.data.in_memory import SampleSplits
from aeframe.data.samples import Samples
from aeframe_image.arrays import ImageNPZ
from aeframe_image.folder import ImageFolder
from aeframe_image.in_memory import ImageInMemory
from aeframe_image.modality import Image

RNG = np.random.default_rng(0)
TWELVE_BITS = RNG.integers(0, 3251, (12, 6, 5)).astype(np.uint16)
TWELVE_BITS[:, 0, 0], TWELVE_BITS[:, 0, 1] = 0, 3250


def everything(source: Source) -> torch.Tensor:
    return source.batch(torch.arange(len(source))).x


def grey_levels(modality: Image, dataset: Any) -> NDArray[np.float32]:
    """Return the distinct values of all splits, ascending."""
    splits = modality.prepare(dataset)
    return torch.cat([everything(split) for split in (splits.train, splits.validation, splits.test)]).unique().numpy()


def saved(folder: Path, images: Any, suffix: str = ".png") -> ImageFolder:
    for number, image in enumerate(images):
        Pillow.fromarray(image).save(folder / f"{number:02}{suffix}")
    return ImageFolder(path=folder)


def expected_levels(images: NDArray[Any], high: float) -> NDArray[np.float32]:
    return (np.unique(images) / high).astype(np.float32)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jp2"])
def test_16_bits_that_use_12_keep_their_grey_levels(tmp_path: Path, suffix: str) -> None:
    modality = Image()
    levels = grey_levels(modality, saved(tmp_path, TWELVE_BITS, suffix))
    np.testing.assert_allclose(levels, expected_levels(TWELVE_BITS, 4095), atol=1e-7)
    assert [*modality.notes] == [
        "modality 'image': 10 training images of more than 8 bits: black is 0 and white is 4095, inferred from the "
        "values 0 to 3250 of all training images; modality.range sets other values"
    ]


@pytest.mark.parametrize("form", ["npz", "memory", "list", "lazy"])
def test_every_way_in_keeps_the_grey_levels(tmp_path: Path, form: str) -> None:
    np.savez(tmp_path / "x.npz", x=TWELVE_BITS)
    images = [Pillow.fromarray(image) for image in TWELVE_BITS]
    datasets = {
        "npz": lambda: ImageNPZ(path=tmp_path / "x.npz"),
        "memory": lambda: ImageInMemory(SampleSplits({"train": Samples(TWELVE_BITS)})),
        "list": lambda: ImageInMemory(SampleSplits({"train": Samples(images)})),
        "lazy": lambda: ImageFolder(path=tmp_path, max_memory_mb=0),
    }
    if form == "lazy":
        saved(tmp_path, TWELVE_BITS)
    modality = Image()
    np.testing.assert_allclose(grey_levels(modality, datasets[form]()), expected_levels(TWELVE_BITS, 4095), atol=1e-7)
    opened = Image()
    opened.load_state(modality.state())
    np.testing.assert_array_equal(opened.restore_samples(opened.prepare_samples(TWELVE_BITS).x), TWELVE_BITS)
    assert opened.restore_samples(opened.prepare_samples(images).x).dtype == np.uint16


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        (np.uint16, 0, 65535, (0, 65535)),
        (np.uint16, 0, 256, (0, 511)),
        (np.uint16, 0, 200, (0, 255)),
        (np.int16, 0, 3000, (0, 4095)),
        (np.int16, -1024, 3071, (-1024, 3071)),
        (np.int32, 0, 2**20, (0, 2**21 - 1)),
        (np.uint32, 0, 2**32 - 1, (0, 2**32 - 1)),
        (np.int64, 0, 255, (0, 255)),
    ],
)
def test_the_range_of_integers(tmp_path: Path, dtype: Any, low: int, high: int, expected: tuple[int, int]) -> None:
    x = np.linspace(low, high, 12 * 30).round().astype(dtype).reshape(12, 6, 5)
    np.savez(tmp_path / "x.npz", x_train=x, x_val=x, x_test=x)
    modality = Image()
    modality.prepare(ImageNPZ(path=tmp_path / "x.npz"))
    assert modality.levels.learned == {"integer": expected}
    restored = modality.restore_samples(modality.read(tmp_path / "x.npz").x)
    # Floats of 24 bits hold integers of 32 bits up to a few units.
    np.testing.assert_allclose(restored[:12].astype(float), x.astype(float), atol=2**8 * (high > 2**24))


@pytest.mark.parametrize("domain", ["unit", "signed"])
@pytest.mark.parametrize("out", ["out", "out.tif", "out.npz"])
def test_values_are_written_with_16_bits_and_read_exactly(tmp_path: Path, domain: Any, out: str) -> None:
    (tmp_path / "in").mkdir()
    modality = Image(domain=domain)
    modality.prepare(saved(tmp_path / "in", TWELVE_BITS))
    opened = Image(domain=domain)
    opened.load_state(modality.state())
    x = opened.read(tmp_path / "in").x
    files = opened.write(x, tmp_path / out)
    assert torch.equal(opened.read(tmp_path / out).x, x)
    if out == "out":
        np.testing.assert_array_equal(np.stack([np.asarray(Pillow.open(file)) for file in files]), TWELVE_BITS)


@pytest.mark.parametrize("wide", [False, True])
def test_chosen_values_of_black_and_white(tmp_path: Path, wide: bool) -> None:
    images = TWELVE_BITS if wide else (TWELVE_BITS // 16).astype(np.uint8)
    modality = Image(range=(0, 100))
    levels = grey_levels(modality, saved(tmp_path, images))
    assert set(levels.tolist()) <= set((np.arange(101) / 100).astype(np.float32).tolist())
    restored = modality.restore_samples(torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3))
    assert restored.tolist() == [[[0, 50, 100]]]
    assert restored.dtype == images.dtype
    assert any("have values outside the range from 0 to 100" in note for note in modality.notes)


@pytest.mark.parametrize("chosen", [(5, 5), (9, 1), (0, float("nan"))])
def test_a_range_that_does_not_ascend_is_refused(chosen: tuple[float, float]) -> None:
    with pytest.raises(AeframeError, match="expected the value of black and a larger value of white, such as"):
        Image(range=chosen)


def test_floats_in_unit_tiff_are_read_and_written_as_floats(tmp_path: Path) -> None:
    images = RNG.random((12, 6, 5)).astype(np.float32)
    (tmp_path / "in").mkdir()
    modality = Image()
    levels = grey_levels(modality, saved(tmp_path / "in", images, ".tif"))
    np.testing.assert_array_equal(levels, np.unique(images))
    samples = modality.open(tmp_path / "in", "raise")
    batch = samples.batch()
    files = modality.write(batch.x, tmp_path / "out", names=[f"{number:02}.tif" for number in range(12)])
    np.testing.assert_array_equal(np.stack([np.asarray(Pillow.open(file)) for file in files]), images)
    numbered = modality.write(batch.x, tmp_path / "numbered")
    assert (modality.read(tmp_path / "numbered").x - batch.x).abs().max() <= 0.5 / 65535 + 1e-7
    assert numbered[0].suffix == ".png"


def test_floats_outside_unit_need_a_range(tmp_path: Path) -> None:
    images = (RNG.random((12, 6, 5)) * 50 - 3).astype(np.float32)
    dataset = saved(tmp_path, images, ".tif")
    with pytest.raises(AeframeError) as caught:
        Image().prepare(dataset)
    names = dataset.load()["train"].names  # type: ignore[union-attr]
    assert names is not None
    train = images[[int(name[:2]) for name in names]]
    low, high = train.min(), train.max()
    assert str(caught.value) == (
        f"modality 'image': the training images are floats from {low:g} to {high:g}, and floats are black at 0 and "
        f"white at 1; set the values of black and white, such as modality.range=[{low:g},{high:g}]"
    )
    modality = Image(range=(-3, 47))
    modality.prepare(dataset)
    np.testing.assert_allclose(modality.restore_samples(modality.read(tmp_path).x)[..., 0], images, atol=1e-4)


def test_a_note_if_all_training_images_are_nearly_black(tmp_path: Path) -> None:
    modality = Image()
    modality.prepare(saved(tmp_path, (TWELVE_BITS // 200).astype(np.uint8)))
    assert [*modality.notes] == [
        "modality 'image': no training image goes beyond 6.3% of the range from 0 to 255, so that all are nearly "
        "black; modality.range sets the values of black and white"
    ]
    modality = Image(range=(0, 65535))
    modality.prepare(ImageInMemory(SampleSplits({"train": Samples([Pillow.fromarray(x) for x in TWELVE_BITS])})))
    assert len([note for note in modality.notes if "goes beyond 5.0% of the range from 0 to 65535" in note]) == 1


def test_values_that_the_files_state(tmp_path: Path) -> None:
    # A PGM states its maximum, from which Pillow scales to 65535.
    for number, image in enumerate(TWELVE_BITS):
        (tmp_path / f"{number:02}.pgm").write_bytes(b"P5 5 6 4095\n" + image.astype(">u2").tobytes())
    modality = Image()
    levels = grey_levels(modality, ImageFolder(path=tmp_path))
    np.testing.assert_allclose(levels, expected_levels(TWELVE_BITS, 4095), atol=1e-5)
    assert [*modality.notes] == [
        "modality 'image': 10 training images of more than 8 bits: black is 0 and white is 65535, as the files state"
    ]


def test_types_are_scaled_separately_and_counted(tmp_path: Path) -> None:
    saved(tmp_path, (TWELVE_BITS // 16).astype(np.uint8))
    for number in range(4):
        Pillow.fromarray(TWELVE_BITS[number]).save(tmp_path / f"wide{number}.png")
    modality = Image()
    splits = modality.prepare(ImageFolder(path=tmp_path, validation=0.01, test=0.01))
    wide = sum(name.startswith("wide") for name in names_of(splits.train) or ())
    assert float(everything(splits.train).mean()) > 0.3
    assert any(
        note.startswith(
            f"modality 'image': the training images have different types ({14 - wide} of 8 bits, {wide} of more bits)"
        )
        for note in modality.notes
    )


@pytest.mark.parametrize("in_memory", [True, False])
def test_new_images_beyond_the_range_are_cut_off_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.setattr("aeframe_image.modality._MEGABYTE", 0)
    modality = Image()
    (tmp_path / "in").mkdir()
    (tmp_path / "new").mkdir()
    modality.prepare(saved(tmp_path / "in", TWELVE_BITS))
    opened = Image()
    opened.load_state(modality.state())
    bright = TWELVE_BITS[:2].copy()
    bright[1, 0, 0] = 9000
    saved(tmp_path / "new", bright)
    assert float(opened.read(tmp_path / "new").x.max()) == 1
    lowest, where = bright[1].min(), f"'{tmp_path}/new'" if in_memory else "a batch"
    assert [*opened.notes] == [
        f"modality 'image': 1 of 2 images of {where} have values outside the range from 0 to 4095 (from {lowest} to "
        "9000), which are cut off"
    ]


@pytest.mark.parametrize("max_memory_mb", [0, 10])
def test_a_validation_image_beyond_the_range_is_reported(tmp_path: Path, max_memory_mb: int) -> None:
    for split, factor in (("train", 1), ("val", 3), ("test", 1)):
        (tmp_path / split).mkdir()
        saved(tmp_path / split, TWELVE_BITS[:3] * np.uint16(factor))
    modality = Image()
    splits = modality.prepare(ImageFolder(path=tmp_path, max_memory_mb=max_memory_mb))
    if max_memory_mb:
        assert any("3 of 3 validation images have values outside the range from 0 to 4095" in n for n in modality.notes)
        return
    # Notes of worker processes would be lost.
    with pytest.raises(AeframeError, match=r"expected 0 \(black\) to 4095 \(white\); set modality.range=\["):
        everything(splits.validation)


def test_16_bits_after_training_with_8(tmp_path: Path) -> None:
    (tmp_path / "dark").mkdir()
    (tmp_path / "full").mkdir()
    modality = Image()
    modality.load_state({"shape": [1, 6, 5]})
    saved(tmp_path / "dark", TWELVE_BITS[:1])
    saved(tmp_path / "full", TWELVE_BITS[:1] * np.uint16(20))
    with pytest.raises(AeframeError, match=r"values up to 3250 of 65535, so that it would be nearly black.*to 8 bits$"):
        modality.read(tmp_path / "dark")
    x = modality.read(tmp_path / "full").x[0, 0].numpy()
    np.testing.assert_allclose(x, TWELVE_BITS[0] * 20 / 65535, atol=1e-6)
    assert any("have more than 8 bits, and those of training had not; white is" in note for note in modality.notes)


def test_images_of_8_bits_stay_bytes(tmp_path: Path) -> None:
    modality = Image()
    dataset = saved(tmp_path, (TWELVE_BITS // 13).astype(np.uint8))
    modality.prepare(dataset)
    assert modality.state() == {"shape": [1, 6, 5]}
    assert modality.levels.keeps_bytes
    assert [*modality.notes] == []


def test_values_that_are_not_finite_are_refused_or_skipped(tmp_path: Path) -> None:
    images = RNG.random((8, 6, 5)).astype(np.float32)
    images[3, 1, 1] = np.nan
    dataset = saved(tmp_path, images, ".tif")
    splits = Image(on_error="skip").prepare(dataset)
    assert splits.skipped == [
        f"image '{tmp_path}/03.tif' has 1 of 30 values that are NaN or infinite; replace them, or leave such files out "
        "with on_error=skip"
    ]
