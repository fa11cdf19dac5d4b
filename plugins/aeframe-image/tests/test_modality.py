"""The modality: preparing batches, errors, reading and writing files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from aeframe import AeframeError
from aeframe.data import Source, Splits
from aeframe.factory import build
from aeframe.types import Batch, DataSpec, Domain
from aeframe_image.arrays import ImageNPZ
from aeframe_image.digits import Digits
from aeframe_image.folder import ImageFolder
from aeframe_image.modality import Image
from aeframe_image.values import Values

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve colour images of two classes."""
    for n in range(12):
        path = tmp_path / "pictures" / ("cat" if n % 2 else "dog") / f"{n:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PILImage.fromarray(RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(path)
    return tmp_path / "pictures"


def full_batch(source: Source) -> Batch:
    return source.batch(torch.arange(len(source)))


def sources(splits: Splits) -> list[Source]:
    return [splits.train, splits.validation, splits.test]


def message(modality: Image, dataset: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        modality.prepare(dataset)
    return str(caught.value)


# -- preparing ---------------------------------------------------------------------------------------------------


def test_digits() -> None:
    modality = Image()
    assert modality.spec(Digits()) == DataSpec((1, 8, 8), Domain("unit"))
    splits = modality.prepare(Digits())
    assert [len(source) for source in sources(splits)] == [1437, 180, 180]
    assert all(source.in_memory for source in sources(splits))
    batch = full_batch(splits.train)
    assert not Domain("unit").violations(batch.x).any()
    # Seventeen grey levels, exactly.
    assert torch.equal((batch.x * 16).round() / 16, batch.x)
    assert sorted(batch.extras["label"].unique().tolist()) == list(range(10))
    assert batch.index is not None
    assert torch.equal(batch.index, torch.arange(1437))
    # The splits are disjoint: all 1,797 images differ.
    rows = torch.cat([full_batch(source).x for source in sources(splits)]).flatten(1)
    assert len(rows.unique(dim=0)) == 1797
    again = Image().prepare(Digits())
    assert torch.equal(full_batch(again.test).x, full_batch(splits.test).x)


@pytest.mark.parametrize("domain", ["unit", "signed", "binary"])
def test_values_are_in_the_domain(domain: str) -> None:
    modality = build("modality", {"name": "image", "domain": domain})
    assert modality.spec(Digits()).domain == Domain.parse(domain)
    for source in sources(modality.prepare(Digits())):
        assert not Domain.parse(domain).violations(full_batch(source).x).any()


def test_binary_images_are_resampled_in_training_only() -> None:
    splits = Image(domain="binary", binarize="sample").prepare(Digits())
    assert not torch.equal(full_batch(splits.train).x, full_batch(splits.train).x)
    assert torch.equal(full_batch(splits.test).x, full_batch(splits.test).x)
    assert set(full_batch(splits.test).x.unique().tolist()) == {0.0, 1.0}


def test_fixed_binary_images_are_drawn_once_by_their_seed() -> None:
    fixed, other = (
        full_batch(Image(domain="binary", binarize="fixed", binarize_seed=seed).prepare(Digits()).train)
        for seed in (0, 1)
    )
    splits = Image(domain="binary", binarize="fixed").prepare(Digits())
    assert torch.equal(full_batch(splits.train).x, fixed.x)
    assert not torch.equal(fixed.x, other.x)
    # In any batch, an image is the same.
    index = torch.tensor([7, 3])
    assert torch.equal(splits.train.batch(index).x, fixed.x[index])
    # Held-out rows do not repeat the noise of training rows of the same number.
    grey = torch.full((400, 1, 8, 8), 0.5)
    rows = Batch(grey, index=torch.arange(400))
    values = Values("binary", "fixed")
    train, test = values.training(rows).x, values.evaluation(rows).x
    assert abs(float(((train - 0.5) * (test - 0.5)).mean())) < 0.005


def test_pixels_are_drawn_with_their_brightness_as_probability() -> None:
    brightness = torch.rand(64, generator=torch.Generator().manual_seed(0))
    x = Values("binary", "fixed").training(Batch(brightness.expand(20_000, 64), index=torch.arange(20_000))).x
    # Within five standard errors of a proportion, and without correlation of the pixels of an image.
    assert ((x.mean(0) - brightness).abs() < 5 * (0.25 / 20_000) ** 0.5).all()
    correlation = torch.corrcoef(x.T[(brightness > 0.1) & (brightness < 0.9)])
    assert float((correlation - torch.eye(len(correlation))).abs().max()) < 5 * 20_000**-0.5


@pytest.mark.parametrize(
    "options",
    [{}, {"domain": "signed", "size": 4}, {"channels": 1, "size": [5, 3], "fit": "resize"}, {"domain": "binary"}],
)
def test_lazy_and_in_memory_batches_are_equal(folder: Path, options: dict[str, Any]) -> None:
    def prepared(max_memory_mb: int) -> Splits:
        dataset = ImageFolder(path=str(folder), max_memory_mb=max_memory_mb, validation=0.25)
        return build("modality", {"name": "image", **options}).prepare(dataset)

    memory, lazy = prepared(1), prepared(0)
    for one, two in zip(sources(memory), sources(lazy), strict=True):
        assert one.in_memory
        assert not two.in_memory
        assert len(one) == len(two)
        index = torch.randperm(len(one))
        a, b = one.batch(index), two.batch(index)
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.extras["label"], b.extras["label"])
        assert a.index is not None
        assert b.index is not None
        assert torch.equal(a.index, b.index)


def test_lazy_and_in_memory_sampled_evaluation_images_are_equal(folder: Path) -> None:
    modality = Image(domain="binary", binarize="sample")
    one = modality.prepare(ImageFolder(path=str(folder))).test
    two = modality.prepare(ImageFolder(path=str(folder), max_memory_mb=0)).test
    assert torch.equal(full_batch(one).x, full_batch(two).x)


def test_labels_belong_to_their_images(folder: Path) -> None:
    splits = Image().prepare(ImageFolder(path=str(folder)))
    for source in sources(splits):
        batch = full_batch(source)
        for x, label in zip(batch.x, batch.extras["label"].tolist(), strict=True):
            kind = ("cat", "dog")[label]
            known = [Image().read(path).x[0] for path in sorted((folder / kind).iterdir())]
            assert any(torch.equal(x, image) for image in known)


def test_images_are_padded_to_the_size(folder: Path) -> None:
    modality = Image(size=(6, 20), fit="pad", padding=1.0)
    x = modality.prepare(ImageFolder(path=str(folder))).train.batch(torch.arange(2)).x
    assert x.shape[2:] == (6, 20)
    assert (x[..., 0] == 1).all()
    assert (x[..., 10] < 1).any()


def test_size_and_channels_reach_the_spec() -> None:
    modality = Image(size=16, channels=3)
    assert modality.spec(Digits()).shape == (3, 16, 16)
    assert full_batch(modality.prepare(Digits()).test).x.shape == (180, 3, 16, 16)


# -- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_memory_mb", [1, 0])
def test_a_damaged_png_is_an_error(folder: Path, max_memory_mb: int) -> None:
    bad = folder / "cat" / "05.png"
    bad.write_bytes(bad.read_bytes()[:50])
    dataset = ImageFolder(path=str(folder), max_memory_mb=max_memory_mb)

    def epoch() -> None:
        # Lazy sources decode the file only here.
        for source in sources(Image().prepare(dataset)):
            full_batch(source)

    with pytest.raises(AeframeError) as caught:
        epoch()
    assert str(caught.value) == (
        f"image '{bad}' cannot be decoded (Truncated File Read); replace it, or leave such files out with on_error=skip"
    )


@pytest.mark.parametrize("max_memory_mb", [1, 0])
def test_a_damaged_png_is_skipped_and_listed(folder: Path, max_memory_mb: int) -> None:
    bad = [folder / "cat" / "05.png", folder / "dog" / "00.png"]
    bad[0].write_bytes(bad[0].read_bytes()[:50])
    bad[1].write_bytes(b"")
    dataset = ImageFolder(path=str(folder), max_memory_mb=max_memory_mb, validation=0.25)
    splits = Image(on_error="skip").prepare(dataset)
    assert sorted(splits.skipped) == [
        f"image '{bad[0]}' cannot be decoded (Truncated File Read); replace it, or leave such files out "
        "with on_error=skip",
        f"image '{bad[1]}' is empty (0 bytes); replace it, or leave such files out with on_error=skip",
    ]
    batches = [full_batch(source) for source in sources(splits)]
    assert sum(len(batch) for batch in batches) == 10
    labels = torch.cat([batch.extras["label"] for batch in batches])
    assert labels.bincount().tolist() == [5, 5]
    good = [Image().read(path).x for path in sorted(folder.rglob("*.png")) if path not in bad]
    images = torch.cat([batch.x for batch in batches]).flatten(1)
    assert torch.equal(images.unique(dim=0), torch.cat(good).flatten(1).unique(dim=0))


def test_a_split_without_usable_images_is_an_error(folder: Path) -> None:
    for path in (folder / "cat").iterdir():
        path.rename(folder / path.name)
    (folder / "dog").rename(folder / "train")
    (folder / "test").mkdir()
    for path in folder.glob("*.png"):
        path.write_bytes(b"")
        path.rename(folder / "test" / path.name)
    assert message(Image(on_error="skip"), ImageFolder(path=str(folder))) == (
        f"none of 6 images can be used; the first: image '{folder}/test/01.png' is empty (0 bytes); replace it, or "
        "leave such files out with on_error=skip"
    )


def test_images_of_different_shapes_are_an_error(folder: Path) -> None:
    first = sorted(path for path in folder.rglob("*.png"))[0]
    odd = folder / "dog" / "odd.png"
    PILImage.fromarray(np.zeros((7, 9), np.uint8)).save(odd)
    dataset = ImageFolder(path=str(folder))
    expected = (
        f"image '{odd}' is 3 x 7 x 9 (channels x height x width), expected 3 x 6 x 9; "
        "convert all images to one shape with modality.size=[6,9]"
    )
    assert first != odd
    assert message(Image(), dataset) == expected
    # An image of another shape is not damaged, so it is not skipped.
    assert message(Image(on_error="skip"), dataset) == expected
    for channels in (None, 1, 3):
        splits = Image(size=6, channels=channels).prepare(dataset)
        assert sum(len(source) for source in sources(splits)) == 13
        assert full_batch(splits.train).x.shape[1] == channels or 3


def test_binarize_without_binary() -> None:
    with pytest.raises(AeframeError) as caught:
        Image(binarize="sample")
    assert str(caught.value) == (
        "modality 'image' has binarize=sample but domain=unit; set modality.domain=binary, or leave binarize out"
    )


@pytest.mark.parametrize("size", [0, (4, -1)])
def test_a_size_below_1_is_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(AeframeError) as caught:
        Image(size=size)
    assert str(caught.value) == f"modality 'image' needs size >= 1, found {size}"


# -- files in and out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["unit", "signed"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["out", "out.npz"])
def test_bytes_are_written_and_read_exactly(tmp_path: Path, domain: str, channels: int, name: str) -> None:
    array = RNG.integers(0, 256, (3, 5, 4, channels), dtype=np.uint8)
    np.save(tmp_path / "in.npy", array)
    modality = Image(domain=domain)  # type: ignore[arg-type]
    batch = modality.read(tmp_path / "in.npy")
    assert batch.x.shape == (3, channels, 5, 4)
    assert batch.index is not None
    assert batch.index.tolist() == [0, 1, 2]
    files = modality.write(batch.x, tmp_path / name)
    single = [tmp_path / "out.npz"]
    assert files == (single if name == "out.npz" else [tmp_path / "out" / f"00000{n}.png" for n in range(3)])
    assert torch.equal(modality.read(tmp_path / name).x, batch.x)
    if name == "out.npz":
        assert np.array_equal(np.load(files[0])["x"], array if channels == 3 else array[..., 0])


def test_reading_converts_as_in_training(folder: Path) -> None:
    trained = Image(size=4, channels=1, domain="signed")
    prepared = trained.prepare(ImageFolder(path=str(folder)))
    fresh = Image(size=4, channels=1, domain="signed")
    fresh.load_state(trained.state())
    read = fresh.read(folder).x
    assert read.shape == (12, 1, 4, 4)
    rows = torch.cat([full_batch(source).x for source in sources(prepared)])
    assert torch.equal(read.flatten(1).unique(dim=0), rows.flatten(1).unique(dim=0))


def test_the_state_is_plain_and_restored() -> None:
    modality = Image()
    assert modality.state() == {}
    modality.spec(Digits())
    assert modality.state() == {"shape": [1, 8, 8]}
    other = Image()
    other.load_state({"shape": [1, 8, 8]})
    assert other.state() == modality.state()


def test_reading_another_shape_than_in_training_is_an_error(tmp_path: Path, folder: Path) -> None:
    modality = Image()
    modality.load_state({"shape": [1, 8, 8]})
    path = sorted(folder.rglob("*.png"))[0]
    with pytest.raises(AeframeError) as caught:
        modality.read(path)
    assert str(caught.value) == (
        f"image '{path}' is 3 x 6 x 9 (channels x height x width), expected 1 x 8 x 8; convert it to that shape"
    )
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(AeframeError) as caught:
        modality.read(tmp_path / "a.npy")
    assert str(caught.value) == (
        f"modality 'image': '{tmp_path}/a.npy' has images of 1 x 3 x 3 (channels x height x width), expected "
        "1 x 8 x 8; convert them to that shape"
    )


def test_reading_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as caught:
        Image().read(tmp_path)
    assert str(caught.value) == f"modality 'image' found no images in '{tmp_path}'; choose a folder with images"


def test_the_splits_of_a_file_are_read_in_their_order(tmp_path: Path) -> None:
    array = RNG.integers(0, 256, (5, 3, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x_test=array[3:], x_train=array[:3])
    assert torch.equal(Image().read(tmp_path / "a.npz").x[:, 0], torch.from_numpy(array) / 255)


def test_a_single_png(tmp_path: Path) -> None:
    x = torch.rand(1, 3, 4, 5)
    assert Image().write(x, tmp_path / "new" / "a.png") == [tmp_path / "new" / "a.png"]
    assert (Image().read(tmp_path / "new" / "a.png").x - x).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "a.png",
            "modality 'image' has 2 images for one file 'a.png'; name a folder, or a .tif with a page for each",
        ),
        (
            "a.jpg",
            "modality 'image' writes PNG and TIFF files and NPZ, not 'a.jpg'; end the path in .png, .tif or .npz, or "
            "name a folder",
        ),
        ("there", "'{there}' exists and is not overwritten; remove it, or choose another path"),
        ("there.npz", "'{there}.npz' exists and is not overwritten; remove it, or choose another path"),
    ],
)
def test_errors_of_writing(tmp_path: Path, name: str, expected: str) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "000001.png").touch()
    (tmp_path / "there.npz").touch()
    with pytest.raises(AeframeError) as caught:
        Image().write(torch.zeros(2, 1, 3, 3), tmp_path / name)
    assert str(caught.value) == expected.format(there=there)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["000001.png", "there", "there.npz"]


def test_a_npz_of_floats_is_kept_as_floats(tmp_path: Path) -> None:
    x = RNG.random((30, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x)
    modality = Image()
    splits = modality.prepare(ImageNPZ(path=str(tmp_path / "a.npz")))
    rows = torch.cat([full_batch(source).x for source in sources(splits)])
    assert torch.equal(rows.flatten(1).unique(dim=0), torch.from_numpy(x).flatten(1).unique(dim=0))


def test_class_folders_and_labels_of_arrays_are_read(folder: Path, tmp_path: Path) -> None:
    modality = Image(channels=1)
    dataset = ImageFolder(path=folder)
    modality.spec(dataset)
    assert modality.prepare(dataset).label_names == ("cat", "dog")
    opened = Image(channels=1)
    opened.load_state(modality.state())
    for kind in ("new/bird", "new/cat", "new/dog", "flat", "dates/2024"):
        (tmp_path / kind).mkdir(parents=True)
        PILImage.fromarray(np.zeros((6, 9), np.uint8)).save(tmp_path / kind / "a.png")
    assert opened.read(tmp_path / "new").extras["label"].tolist() == [-1, 0, 1]
    for unlabelled in ("flat", "dates"):
        assert opened.read(tmp_path / unlabelled).extras == {}
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 6, 9), np.uint8), y=[1, 0])
    assert opened.read(tmp_path / "x.npz").extras["label"].tolist() == [1, 0]
