"""What of a folder is read: formats, pages of TIFF files, masks, and the names of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import features

from aeframe import AeframeError
from aeframe.data.file_samples import names_of
from aeframe_image import decode as decoding
from aeframe_image.folder import ImageFolder
from aeframe_image.modality import Image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (9, 6, 5, 3), dtype=np.uint8)


def save(path: Path, image: Any, *others: Any, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = [Pillow.fromarray(other) for other in others]
    more = {"save_all": True, "append_images": pages} if pages else {}
    Pillow.fromarray(image).save(path, **more, **options)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".tga", ".jp2", ".avif", ".webp", ".ppm", ".pnm", ".dib", ".TIFF"])
def test_formats_of_pillow_are_read(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("Pillow has no AVIF")
    if suffix == ".jp2" and not features.check("jpg_2000"):
        pytest.skip("Pillow has no JPEG 2000")
    for number in range(4):
        save(tmp_path / f"{number}.png", COLOUR[number])
    formats = {".jfif": "JPEG", ".pnm": "PPM"}
    save(tmp_path / f"4{suffix}", COLOUR[4], format=formats.get(suffix.lower()))
    samples = Image().open(tmp_path, "raise")
    assert names_of(samples.source) == ["0.png", "1.png", "2.png", "3.png", f"4{suffix}"]
    assert samples.batch().x.shape == (5, 3, 6, 5)


def test_files_of_other_formats_are_counted(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.png", GREY[number])
    for name in ("a.txt", "b.TXT", "c.heic", "README"):
        (tmp_path / name).write_text("no image")
    dataset, modality = ImageFolder(path=tmp_path), Image()
    listed = "4 files passed over for another format: 2 .txt, 1 .heic, 1 without suffix"
    notes = modality.prepare(dataset).notes
    assert [*notes] == [f"dataset 'image_folder' at '{tmp_path}': {listed}"]
    opened = Image()
    opened.open(tmp_path, "raise")
    assert [*opened.notes] == [f"'{tmp_path}': {listed}"]


def test_each_page_of_a_tiff_is_an_image(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "stack.tif", *GREY[:3])
    save(tmp_path / "cat" / "one.tif", GREY[3])
    save(tmp_path / "dog" / "other.tiff", *GREY[4:8])
    dataset = ImageFolder(path=tmp_path)
    raw = dataset.load()
    names = {name: split for split, files in raw.items() for name in files.names or ()}  # type: ignore[union-attr]
    pages = [f"cat/stack.tif#{page}" for page in range(3)], [f"dog/other.tiff#{page}" for page in range(4)]
    assert sorted(names) == sorted([*pages[0], "cat/one.tif", *pages[1]])
    assert [*dataset.notes] == [
        f"dataset 'image_folder' at '{tmp_path}': 2 TIFF files have several pages: each of the 7 pages is an image, "
        "such as 'cat/stack.tif#0'"
    ]
    modality = Image()
    modality.prepare(dataset)
    opened = Image()
    opened.load_state(modality.state())
    samples = opened.open(tmp_path, "raise")
    batch = samples.batch()
    assert names_of(samples.source) == ["cat/one.tif", *pages[0], *pages[1]]
    np.testing.assert_array_equal(opened.restore_samples(batch.x), GREY[[3, 0, 1, 2, 4, 5, 6, 7]])
    assert batch.extras["label"].tolist() == [0] * 4 + [1] * 4
    alone = opened.open(tmp_path / "dog" / "other.tiff", "raise")
    assert names_of(alone.source) == [f"other.tiff#{page}" for page in range(4)]
    assert torch.equal(alone.batch().x, batch.x[4:])


def test_smaller_copies_in_a_tiff_are_no_images(tmp_path: Path) -> None:
    page, copy = Pillow.fromarray(GREY[0]), Pillow.fromarray(GREY[1, :3])
    copy.encoderinfo = {"tiffinfo": {254: 1}}  # type: ignore[attr-defined]
    page.save(tmp_path / "a.tif", save_all=True, append_images=[copy])
    assert names_of(Image().open(tmp_path, "raise").source) == ["a.tif"]


def test_images_that_imagej_stored_without_pages_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", GREY[0], description="ImageJ=1.53\nimages=57\nslices=57")
    modality = Image()
    modality.load_state({"shape": [1, 6, 5]})
    with pytest.raises(AeframeError) as caught:
        modality.read(tmp_path / "a.tif")
    assert str(caught.value) == (
        f"image '{tmp_path}/a.tif' has 57 images of ImageJ in one page; save it as an image sequence"
    )


def test_the_first_frame_of_animations_is_read_and_they_are_counted(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.png", COLOUR[number])
    save(tmp_path / "a.gif", *COLOUR[:3])
    save(tmp_path / "b.png", *COLOUR[4:6])
    save(tmp_path / "c.webp", *COLOUR[4:6], lossless=True)
    splits = Image().prepare(ImageFolder(path=tmp_path))
    assert [*splits.notes] == [
        f"dataset 'image_folder' at '{tmp_path}': 3 of 7 images are animations, of which the first frame is read"
    ]


@pytest.mark.parametrize("reverse", [False, True])
def test_grey_and_colour_images_are_read_in_colour(tmp_path: Path, reverse: bool) -> None:
    save(tmp_path / ("z.png" if reverse else "a.png"), GREY[0])
    for number in range(8):
        save(tmp_path / f"b{number}.png", COLOUR[number])
    modality = Image()
    splits = modality.prepare(ImageFolder(path=tmp_path))
    assert splits.train.batch(torch.arange(2)).x.shape[1] == 3
    assert [*splits.notes] == [
        f"dataset 'image_folder' at '{tmp_path}': 1 of 9 images are grey and 8 have colour; without modality.channels "
        "all are read in colour"
    ]
    assert Image(channels=1).prepare(ImageFolder(path=tmp_path)).train.batch(torch.arange(2)).x.shape[1] == 1
    opened = Image()
    opened.load_state(modality.state())
    opened.read(tmp_path)
    assert [*opened.notes] == [f"'{tmp_path}': 1 of 9 images are grey and 8 have colour; all are read in colour"]


def test_the_layout_of_mvtec(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "train" / "good" / f"{number}.png", COLOUR[number])
    for kind in ("good", "broken"):
        save(tmp_path / "test" / kind / "000.png", COLOUR[4])
    save(tmp_path / "ground_truth" / "broken" / "000_mask.png", GREY[0])
    dataset = ImageFolder(path=tmp_path)
    splits = Image().prepare(dataset)
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [3, 1, 2]
    assert dataset.label_names == ("broken", "good")
    assert names_of(splits.test) == ["test/broken/000.png", "test/good/000.png"]
    assert [*splits.notes] == [
        f"dataset 'image_folder' at '{tmp_path}': 1 image in the folder 'ground_truth' is passed over as masks; the "
        "path of that folder reads them"
    ]
    assert len(Image().open(tmp_path / "ground_truth", "raise")) == 1


def test_masks_are_left_out_beside_images_only(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "segmentation" / "images" / f"{number}.png", COLOUR[number])
        save(tmp_path / "segmentation" / "masks" / f"{number}.png", GREY[number])
        save(tmp_path / "faces" / "mask" / f"{number}.png", COLOUR[number])
        save(tmp_path / "faces" / "no_mask" / f"{number}.png", COLOUR[number])
    dataset = ImageFolder(path=tmp_path / "segmentation")
    assert sum(len(split) for split in dataset.load().values()) == 4
    assert "4 images in the folder 'masks' are passed over as masks" in next(iter(dataset.notes))
    faces = ImageFolder(path=tmp_path / "faces")
    faces.load()
    assert faces.label_names == ("mask", "no_mask")


@pytest.mark.parametrize("max_memory_mb", [10, 0])
def test_training_images_have_names(tmp_path: Path, max_memory_mb: int) -> None:
    for number in range(8):
        save(tmp_path / "in" / f"{number}.png", np.full((6, 5), number, np.uint8))
    splits = Image().prepare(ImageFolder(path=tmp_path, max_memory_mb=max_memory_mb))
    for split in (splits.train, splits.validation, splits.test):
        batch = split.batch(torch.arange(len(split)))
        numbers = (batch.x[:, 0, 0, 0] * 255).round().int().tolist()
        assert names_of(split) == [f"in/{number}.png" for number in numbers]


@pytest.mark.parametrize("in_memory", [True, False])
def test_bad_files_are_skipped_and_the_others_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.setattr("aeframe_image.modality._MEGABYTE", 0)
    for number in range(5):
        save(tmp_path / f"{number}.png", np.full((6, 5), number, np.uint8))
    (tmp_path / "2.png").write_bytes(b"")
    message = f"image '{tmp_path}/2.png' is empty (0 bytes); replace it, or leave such files out with on_error=skip"
    with pytest.raises(AeframeError) as caught:
        Image().open(tmp_path, "raise").batch()
    assert str(caught.value) == message
    samples = Image().open(tmp_path, "skip")
    batch = samples.batch()
    assert samples.skipped == [message]
    assert batch.index is not None
    assert batch.index.tolist() == [0, 1, 3, 4]
    assert (batch.x[:, 0, 0, 0] * 255).round().tolist() == [0, 1, 3, 4]
    assert names_of(samples.source) == ["0.png", "1.png", "3.png", "4.png"]


def test_images_of_another_shape_are_skipped_after_training(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", GREY[number] if number != 1 else GREY[number, :3])
    modality = Image()
    modality.load_state({"shape": [1, 6, 5]})
    samples = modality.open(tmp_path, "skip")
    assert samples.batch().index.tolist() == [0, 2]  # type: ignore[union-attr]
    assert samples.skipped == [
        f"image '{tmp_path}/1.png' is 1 x 3 x 5 (channels x height x width), expected 1 x 6 x 5; convert it to that "
        "shape"
    ]


def test_opened_files_are_decoded_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        save(tmp_path / f"{number}.png", GREY[number])
    modality = Image()
    modality.load_state({"shape": [1, 6, 5]})
    decoded: list[str] = []
    original = decoding.decode_values
    monkeypatch.setattr("aeframe_image.files.decode_values", lambda file: decoded.append(str(file)) or original(file))
    batches = modality.open(tmp_path, "raise").batches(2)
    assert decoded == []
    next(batches)
    assert [Path(name).name for name in decoded] == ["0.png", "1.png"]


# -- writing with names ------------------------------------------------------------------------------------------


def test_files_are_written_with_their_names(tmp_path: Path) -> None:
    names = [
        "a/x.jpg",
        "a/x.png",
        "a/X.PNG",
        "b.tif",
        "s.tif#0",
        "s.tif#12",
        "noext",
        "dots.in.name.bmp",
        "shard.tar/1.webp",
    ]
    files = Image().write(torch.rand(9, 1, 4, 5), tmp_path / "out", names=names)
    assert [file.relative_to(tmp_path / "out").as_posix() for file in files] == [
        "a/x.jpg.png", "a/x.png", "a/X.PNG.PNG", "b.tif", "s#0.tif", "s#12.tif", "noext.png", "dots.in.name.png",
        "shard.tar/1.png",
    ]  # fmt: skip
    assert all(decoding.decode(file).shape == (1, 4, 5) for file in files)


def test_names_never_lead_out_of_the_folder_nor_overwrite(tmp_path: Path) -> None:
    names = ["../up.png", "/etc/passwd", "C:\\x.png", "..", "", "a.png", "a.png", "a.png", "d", "d.png/e.png", "\0"]
    files = Image().write(torch.rand(11, 1, 4, 5), tmp_path / "out", names=names)
    assert len({str(file).lower() for file in files}) == 11
    assert all(file.resolve().is_relative_to((tmp_path / "out").resolve()) for file in files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    with pytest.raises(AeframeError, match="exists and is not overwritten"):
        Image().write(torch.rand(1, 1, 4, 5), tmp_path / "out", names=["a.png"])


def test_names_are_in_a_npz(tmp_path: Path) -> None:
    Image().write(torch.rand(2, 3, 4, 5), tmp_path / "a.npz", names=["x.jpg", "y.jpg"])
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["name"].tolist() == ["x.jpg", "y.jpg"]
    assert Image().read(tmp_path / "a.npz").x.shape == (2, 3, 4, 5)


def test_a_tiff_has_a_page_for_each_image(tmp_path: Path) -> None:
    x = torch.rand(3, 3, 4, 5)
    assert Image().write(x, tmp_path / "a.tif") == [tmp_path / "a.tif"]
    assert (Image().read(tmp_path / "a.tif").x - x).abs().max() <= 0.5 / 255 + 1e-6
