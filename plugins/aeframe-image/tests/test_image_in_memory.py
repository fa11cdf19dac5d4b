"""Images in memory: every form trains, is prepared as in a file and restored; wrong ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

import aeframe
from aeframe import AeframeError, Samples
from aeframe.data.in_memory import SampleSplits, memory_dataset
from aeframe.data.modality import Source
from aeframe_image import modality as image_modality
from aeframe_image.files import SharedSource
from aeframe_image.in_memory import ImageInMemory, raw_images
from aeframe_image.modality import Image
from aeframe_image.pictures import SharedStack

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (30, 8, 8), np.uint8)
COLOUR = GENERATOR.integers(0, 256, (30, 8, 8, 3), np.uint8)
BOOL = GREY > 127
CHANNELS_FIRST = np.ascontiguousarray(COLOUR.transpose(0, 3, 1, 2))
# Each form of images, with the array that `restore` returns.
FORMS: dict[str, tuple[Any, NDArray[np.uint8]]] = {
    "bytes NHW": (GREY, GREY),
    "bytes NCHW": (CHANNELS_FIRST, COLOUR),
    "bytes NHWC": (COLOUR, COLOUR),
    "bool NHW": (BOOL, 255 * BOOL.astype(np.uint8)),
    "floats NCHW": (GREY[:, None].astype(np.float32) / 255, GREY),
    "double floats NHWC": (COLOUR / 255, COLOUR),
    "tensor of bytes": (torch.from_numpy(CHANNELS_FIRST), COLOUR),
    "tensor of floats": (torch.from_numpy(CHANNELS_FIRST) / 255, COLOUR),
    "tensor of bfloat16": (torch.from_numpy(BOOL)[:, None].bfloat16(), 255 * BOOL.astype(np.uint8)),
    "tensor of bool": (torch.from_numpy(BOOL), 255 * BOOL.astype(np.uint8)),
    "list of grey pictures": ([Pillow.fromarray(image) for image in GREY], GREY),
    "tuple of colour pictures": (tuple(Pillow.fromarray(image) for image in COLOUR), COLOUR),
    "list of arrays HW": (list(GREY), GREY),
    "list of arrays HWC": (list(COLOUR), COLOUR),
    "list of tensors CHW": (list(torch.from_numpy(CHANNELS_FIRST)), COLOUR),
}
UNEQUAL = [GREY[0], GREY[1, :5], GREY[2, :, :7], *GREY[3:]]


def fit(x: Any, folder: Path, **settings: Any) -> Any:
    return aeframe.fit(
        x,
        folder=folder,
        **{"max_epochs": 1, "max_batches": 2, "batch_size": 8, "pictures": False, **settings},
        trainer={"accelerator": "cpu", "threads": 1},
    )


def dataset(x: Any, **columns: Any) -> ImageInMemory:
    return ImageInMemory(SampleSplits({"train": Samples(x, **columns)}))


def everything(source: Source) -> torch.Tensor:
    return source.batch(torch.arange(len(source))).x


@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains_and_is_restored(form: str, tmp_path: Path) -> None:
    x, expected = FORMS[form]
    run = fit(x, tmp_path)
    assert run.model.config["data"]["name"] == "image_in_memory"
    batch = run.model.prepare(x)
    assert batch.x.dtype == torch.float32
    assert tuple(batch.x.shape) == (30, *run.model.spec.shape)
    restored = run.model.restore(batch.x)
    if run.model.modality.levels.kind == "float":
        assert restored.dtype == np.float32
        restored = (restored * 255).round().reshape(expected.shape)
    else:
        assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, expected)


def test_images_of_unequal_sizes_train_at_one_size(tmp_path: Path) -> None:
    run = fit(UNEQUAL, tmp_path, modality={"size": 6})
    assert run.model.spec.shape == (1, 6, 6)
    pictures = [Pillow.fromarray(image) for image in UNEQUAL]
    assert torch.equal(run.model.prepare(UNEQUAL).x, run.model.prepare(pictures).x)


def test_a_float_array_of_three_dimensions_trains_if_the_modality_is_named(tmp_path: Path) -> None:
    run = fit(GREY / 255, tmp_path, modality="image")
    restored = run.model.restore(run.model.prepare(GREY / 255).x)
    np.testing.assert_array_equal(restored[..., 0], (GREY / 255).astype(np.float32))
    assert ImageInMemory.accepts(restored)


def test_a_dataset_of_torch_trains_with_its_labels(tmp_path: Path) -> None:
    class Pictures(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(COLOUR)

        def __getitem__(self, number: int) -> tuple[Any, int]:
            return Pillow.fromarray(COLOUR[number]), number % 3

    run = fit(Pictures(), tmp_path)
    assert run.model.spec.shape == (3, 8, 8)
    resolved = Samples(Pictures()).resolved("fit")
    splits = Image().prepare(dataset(resolved.x, y=resolved.y))
    assert set(splits.train.batch(torch.arange(len(splits.train))).extras["label"].tolist()) == {0, 1, 2}


def test_a_dataset_of_hugging_face_trains_with_the_names_of_its_labels(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    columns = {"image": [Pillow.fromarray(image) for image in COLOUR], "label": [0, 1] * 15}
    table = datasets.Dataset.from_dict(columns, features=features)
    assert fit(table, tmp_path, y="label").model.spec.shape == (3, 8, 8)
    resolved = Samples(table, y="label").resolved("fit")
    assert dataset(resolved.x, y=resolved.y).label_names == ("cat", "dog")


@pytest.mark.parametrize("x", [GREY, [Pillow.fromarray(image) for image in GREY]], ids=["array", "list"])
def test_labels_stay_with_their_images(x: Any) -> None:
    names = np.array(["dark" if image.mean() < 127 else "bright" for image in GREY])
    data = dataset(x, y=names)
    assert data.label_names == ("bright", "dark")
    splits = Image().prepare(data)
    for source in (splits.train, splits.validation, splits.test):
        batch = source.batch(torch.arange(len(source)))
        pixels = (batch.x * 255).round().mean((1, 2, 3))
        assert [data.label_names[code] for code in batch.extras["label"].tolist()] == [
            "dark" if mean < 127 else "bright" for mean in pixels.tolist()
        ]


# -- the same as in files ----------------------------------------------------------------------------------------


def a_picture(mode: str) -> Pillow.Image:
    if mode == "I;16":
        return Pillow.fromarray(GREY[0].astype(np.uint16) * 200)
    picture = Pillow.fromarray(COLOUR[0])
    if mode in ("RGBA", "LA"):
        picture.putalpha(Pillow.fromarray(GREY[0]))
    return picture.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_picture_is_prepared_as_in_a_file(mode: str, tmp_path: Path) -> None:
    picture = a_picture(mode)
    picture.save(tmp_path / "picture.png")
    modality = Image(size=6)
    modality.load_state({"shape": [1 if mode in ("1", "L", "LA", "I;16") else 3, 6, 6]})
    expected = modality.read(tmp_path / "picture.png")
    batch = modality.prepare_samples([picture])
    assert torch.equal(batch.x, expected.x)
    assert torch.equal(batch.index, expected.index)  # type: ignore[arg-type]


def test_the_orientation_of_a_picture_is_applied(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # Rotated by 90 degrees.
    Pillow.fromarray(COLOUR[0]).save(tmp_path / "picture.png", exif=exif)
    modality = Image()
    modality.load_state({"shape": [3, 8, 8]})
    x = modality.prepare_samples([Pillow.open(tmp_path / "picture.png")]).x
    np.testing.assert_array_equal(modality.restore_samples(x)[0], np.rot90(COLOUR[0], -1))


@pytest.mark.parametrize("x", [GREY, COLOUR, CHANNELS_FIRST, BOOL, COLOUR / 255, GREY[:, None] / 255])
def test_an_array_is_prepared_as_in_a_file(x: NDArray[Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", x=x)
    modality = Image(size=5, channels=1)
    modality.load_state({"shape": [1, 5, 5]})
    assert torch.equal(modality.prepare_samples(x).x, modality.read(tmp_path / "images.npz").x)


def test_sampled_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", x=GREY)
    modality = Image(domain="binary", binarize="sample")
    modality.load_state({"shape": [1, 8, 8]})
    assert torch.equal(modality.prepare_samples(GREY).x, modality.read(tmp_path / "images.npz").x)


def test_signed_values_are_restored_and_clipped() -> None:
    modality = Image(domain="signed")
    modality.load_state({"shape": [1, 8, 8]})
    x = modality.prepare_samples(GREY).x
    assert float(x.min()) == -1
    np.testing.assert_array_equal(modality.restore_samples(x), GREY)
    assert modality.restore_samples(torch.full((1, 3, 8, 8), 9.0)).shape == (1, 8, 8, 3)
    assert int(modality.restore_samples(torch.full((1, 1, 8, 8), 9.0)).min()) == 255


# -- no copies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [GREY, COLOUR, CHANNELS_FIRST, torch.from_numpy(GREY)])
def test_an_array_of_bytes_is_shared(x: Any) -> None:
    raw = dataset(x).load()["train"]
    assert isinstance(raw, SharedStack)
    assert len(raw) == 24
    assert raw.pixels.data_ptr() == torch.as_tensor(x).data_ptr()
    assert isinstance(Image().prepare(dataset(x)).train, SharedSource)


def test_a_memory_map_is_not_read_into_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", GREY)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    raw = raw_images(mapped)
    assert isinstance(raw, SharedStack)
    assert raw.pixels.data_ptr() == mapped.__array_interface__["data"][0]
    in_memory, from_file = (Image().prepare(dataset(x)).test for x in (GREY, mapped))
    assert torch.equal(everything(in_memory), everything(from_file))


def test_images_above_the_bound_are_resized_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Image(size=5).prepare(dataset(COLOUR, y=np.arange(30)))
    monkeypatch.setattr(image_modality, "MAX_COPIED_BYTES", 0)
    splits = Image(size=5).prepare(dataset(COLOUR, y=np.arange(30)))
    assert not isinstance(expected.train, SharedSource)
    assert isinstance(splits.train, SharedSource)
    for source, other in ((splits.train, expected.train), (splits.test, expected.test)):
        index = torch.tensor([2, 0])
        batch, other_batch = source.batch(index), other.batch(index)
        assert torch.equal(batch.x, other_batch.x)
        assert torch.equal(batch.extras["label"], other_batch.extras["label"])


def test_reversed_and_foreign_arrays_have_the_same_values() -> None:
    modality = Image()
    modality.load_state({"shape": [1, 8, 8]})
    foreign = (GREY[:, None] / 255).astype(">f4")
    np.testing.assert_array_equal(modality.restore_samples(modality.prepare_samples(foreign).x), GREY)
    np.testing.assert_array_equal(modality.restore_samples(modality.prepare_samples(GREY[::-1]).x), GREY[::-1])


# -- which modality takes what -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "name"),
    [
        (GREY, "image_in_memory"),
        (BOOL, "image_in_memory"),
        (GREY[:, None] / 255, "image_in_memory"),
        (COLOUR, "image_in_memory"),
        (torch.zeros(4, 3, 8, 8), "image_in_memory"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.bfloat16), "image_in_memory"),
        (UNEQUAL, "image_in_memory"),
        ([Pillow.fromarray(GREY[0]), COLOUR[0]], "image_in_memory"),
        (GREY[:, 0], "vector_in_memory"),
        (GREY[:, 0] / 255, "vector_in_memory"),
        (GREY.astype(np.int64), "vector_in_memory"),
        (np.zeros((4, 8, 8, 5)), "vector_in_memory"),
        (np.zeros((4, 3, 8, 8), np.int64), "vector_in_memory"),
    ],
)
def test_the_modality_is_inferred_from_type_and_shape(x: Any, name: str) -> None:
    assert memory_dataset(x, None) == name


@pytest.mark.parametrize("x", [["a", "b"], [], "text", [GREY[0], "b"], [np.zeros(5, np.uint8)], [np.zeros((5, 2))], 3])
def test_other_objects_are_not_images(x: Any) -> None:
    assert not ImageInMemory.accepts(x)


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            COLOUR.astype(np.float32),
            f"x[0] has values from {COLOUR[0].min()} to {COLOUR[0].max()}, expected floats in [0, 1] or uint8; "
            "scale them as those of training",
        ),
        (
            np.stack([COLOUR[0] / 255, COLOUR[1] / 255 * 2 - 1]),
            "x[1] has values from -1 to 1, expected floats in [0, 1] or uint8; scale them as those of training",
        ),
        (
            np.full((2, 1, 4, 4), -300.0),
            "x[0] has values from -300 to -300, expected floats in [0, 1] or uint8; scale them as those of training",
        ),
        (
            np.full((2, 1, 4, 4), np.nan),
            "x[0] has values from nan to nan, expected floats in [0, 1] or uint8; fill missing and infinite values, or "
            "drop the image",
        ),
        (
            GREY.astype(np.complex64),
            "x has dtype complex64, expected numbers; if its values are 0 to 255, pass x.astype('uint8')",
        ),
        (
            np.zeros((2, 8, 8, 4), np.uint8),
            "modality 'image': x has images of 4 x 8 x 8 (channels x height x width), expected 1 x 8 x 8; convert them "
            "to that shape",
        ),
        (
            [GREY[0], "b.png"],
            "x[1] is str, expected a picture of PIL or an array (H, W), (H, W, C) or (C, H, W); leave it out or "
            "convert it",
        ),
        (
            [GREY[0], GREY[1, :5] / 255],
            "image 'x[1]' is 1 x 5 x 8 (channels x height x width), expected 1 x 8 x 8; convert it to that shape",
        ),
        (
            [GREY[0], GREY[1, :5]],
            "image 'x[1]' is 1 x 5 x 8 (channels x height x width), expected 1 x 8 x 8; convert it to that shape",
        ),
        (
            [GREY[0], COLOUR[0]],
            "image 'x[1]' is 3 x 8 x 8 (channels x height x width), expected 1 x 8 x 8; convert it to that shape",
        ),
        (
            [Pillow.new("F", (8, 8))],
            "image 'x[0]' has values up to 0 of 1, so that it would be nearly black, and the model was trained without "
            "images of more than 8 bits, which would show the value of white; convert it to 8 bits",
        ),
        (
            GREY[:, :5],
            "modality 'image': x has images of 1 x 5 x 8 (channels x height x width), expected 1 x 8 x 8; convert them "
            "to that shape",
        ),
        (
            "picture.png",
            "x is str, expected images: an array (N, H, W), (N, C, H, W) or (N, H, W, C), or a list of pictures of PIL "
            "or of arrays",
        ),
    ],
)
def test_wrong_images_are_refused(x: Any, message: str) -> None:
    modality = Image()
    modality.load_state({"shape": [1, 8, 8]})
    with pytest.raises(AeframeError) as error:
        modality.prepare_samples(x)
    assert str(error.value) == message


def test_images_of_unequal_sizes_need_a_size_in_training(tmp_path: Path) -> None:
    with pytest.raises(AeframeError, match=r"image 'x\[\d+\]' is 1 x \d x \d .* modality\.size=\[8,8\]"):
        fit(UNEQUAL, tmp_path)


def test_floats_to_255_are_refused_in_training(tmp_path: Path) -> None:
    with pytest.raises(AeframeError, match="divide by 255"):
        fit(COLOUR.astype(np.float32), tmp_path)
