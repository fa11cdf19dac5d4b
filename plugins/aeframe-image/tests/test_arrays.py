"""NPZ and NPY files of images: layouts, types, names of arrays, and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aeframe import AeframeError
from aeframe_image.arrays import ImageNPZ
from aeframe_image.modality import Image
from aeframe_image.pictures import Stack

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)


def saved(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "a.npz", **arrays)
    return str(folder / "a.npz")


def message(path: str, **options: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        ImageNPZ(path=path, **options).load()
    return str(caught.value)


def pixels(raw: Any) -> torch.Tensor:
    """Return the images of all splits, sorted by their labels, which are their original row numbers."""
    stacks: list[Stack] = list(raw.values())
    labels = torch.cat([s.labels for s in stacks if s.labels is not None])
    return torch.cat([s.pixels for s in stacks])[labels.argsort()]


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW", "NHW1"])
def test_layouts(tmp_path: Path, layout: str) -> None:
    array = {"NHW": GREY, "NHW1": GREY[..., None], "NHWC": COLOUR, "NCHW": COLOUR.transpose(0, 3, 1, 2)}[layout]
    dataset = ImageNPZ(path=saved(tmp_path, x=array, y=np.arange(20)))
    expected = GREY[:, None] if layout.startswith("NHW") and layout != "NHWC" else COLOUR.transpose(0, 3, 1, 2)
    assert dataset.describe() == {"shape": expected.shape[1:]}
    raw = dataset.load()
    assert {name: len(stack) for name, stack in raw.items()} == {"train": 16, "validation": 2, "test": 2}
    assert torch.equal(pixels(raw), torch.from_numpy(expected.copy()))


def test_a_npy_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    dataset = ImageNPZ(path=str(tmp_path / "a.npy"))
    assert dataset.describe() == {"shape": (1, 6, 5)}
    assert sum(len(stack) for stack in dataset.load().values()) == 20


def test_floats_and_bools(tmp_path: Path) -> None:
    floats = ImageNPZ(path=saved(tmp_path, x=GREY / 255, y=np.arange(20))).load()
    assert torch.allclose(pixels(floats), torch.from_numpy(GREY[:, None]).float() / 255)
    bools = ImageNPZ(path=saved(tmp_path, x=GREY > 99, y=np.arange(20))).load()
    assert torch.equal(pixels(bools), torch.from_numpy(GREY[:, None] > 99).to(torch.uint8) * 255)


@pytest.mark.parametrize(
    ("images", "labels"), [("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("{}", "{}_labels"), ("X_{}", "Y_{}")]
)
@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_splits_by_common_array_names(tmp_path: Path, images: str, labels: str, validation: str) -> None:
    arrays: dict[str, Any] = {}
    for split, rows in {"train": slice(0, 12), validation: slice(12, 16), "test": slice(16, 20)}.items():
        arrays[images.format(split)] = GREY[rows]
        # Labels (N, 1), as in MedMNIST.
        arrays[labels.format(split)] = np.arange(20)[rows, None]
    raw = ImageNPZ(path=saved(tmp_path, **arrays)).load()
    assert [None if stack.labels is None else stack.labels.tolist() for stack in raw.values()] == [
        list(range(12)),
        [12, 13, 14, 15],
        [16, 17, 18, 19],
    ]
    assert torch.equal(pixels(raw), torch.from_numpy(GREY[:, None]))


def test_a_key_names_an_array_of_any_name(tmp_path: Path) -> None:
    path = saved(tmp_path, faces=GREY, weights=np.zeros(3))
    assert ImageNPZ(path=path, key="faces").describe() == {"shape": (1, 6, 5)}
    assert message(path) == (
        f"dataset 'image_npz': '{path}' has arrays faces, weights, expected 'x_train' (with 'x_val', 'x_test') or 'x'; "
        "name the images with data.key=..."
    )
    assert message(path, key="face") == (
        f"dataset 'image_npz': '{path}' has no array 'face', did you mean 'faces'?; it has faces, weights"
    )


def test_describe_reads_headers_only(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, x=np.ones((50, 40, 30), np.uint8)))
    content = path.read_bytes()
    # Damage the last pixels.
    position = content.rindex(b"\1" * 40)
    path.write_bytes(content[:position] + b"\0" * 40 + content[position + 40 :])
    assert ImageNPZ(path=str(path)).describe() == {"shape": (1, 40, 30)}
    assert message(str(path)) == (
        f"dataset 'image_npz': '{path}' cannot be read (Bad CRC-32 for file 'x.npy'); "
        "save it again with numpy.savez, without objects"
    )


def test_a_missing_file(tmp_path: Path) -> None:
    path = str(tmp_path / "no.npz")
    assert message(path) == f"dataset 'image_npz': there is no file '{path}'; set the path of an NPZ or NPY file"


def test_another_kind_of_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1,2")
    assert message(str(path)) == (
        f"dataset 'image_npz' reads NPZ and NPY files, found '{path}'; save the images with numpy.savez"
    )


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.touch()
    assert message(str(path)) == (
        f"dataset 'image_npz': '{path}' cannot be read (File is not a zip file); "
        "save it again with numpy.savez, without objects"
    )


def test_object_arrays_are_not_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.array([{}], dtype=object))
    assert message(path) == (
        f"dataset 'image_npz': '{path}' cannot be read (Object arrays cannot be loaded when allow_pickle=False); "
        "save it again with numpy.savez, without objects"
    )


def test_values_out_of_range_are_reported_with_their_row(tmp_path: Path) -> None:
    scaled = GREY / 255
    scaled[7, 2, 2] = 1.5
    path = saved(tmp_path, x=scaled.astype(np.float32))
    with pytest.raises(AeframeError) as caught:
        Image().prepare(ImageNPZ(path=path))
    assert str(caught.value) == (
        f"dataset 'image_npz': array 'x', row 7, has values from {scaled[7].min():g} to 1.5, expected floats in "
        "[0, 1]; scale them, save whole numbers 0 to 255 as uint8, or set the values of black and white, such as "
        "modality.range=[0,1.5]"
    )
    scaled[7, 2, 2], scaled[3, 0, 0] = 0.5, np.nan
    assert message(saved(tmp_path, x=scaled)) == (
        "dataset 'image_npz': array 'x', row 3, has values from nan to nan, expected finite numbers; "
        "fill missing and infinite values, or drop the image"
    )


def test_arrays_without_numbers_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, x=GREY.astype(np.complex64))
    assert message(path) == (
        "dataset 'image_npz': array 'x' has dtype complex64, expected numbers; convert it and save it again"
    )


@pytest.mark.parametrize("shape", [(20, 30), (20, 3, 5, 3), (20, 6, 6, 6), (0, 6, 5), (2, 2, 2, 2, 2)])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert message(saved(tmp_path, x=np.zeros(shape, np.uint8))) == (
        f"dataset 'image_npz': array 'x' has shape {shape}, expected images (N, H, W), (N, H, W, C) or (N, C, H, W) "
        "with C channels, fewer than H and W; reshape it"
    )


def test_labels_of_another_length(tmp_path: Path) -> None:
    assert message(saved(tmp_path, x=GREY, y=np.arange(19))) == (
        "dataset 'image_npz': array 'y' is int64 (19,), expected whole numbers (20,), one label for each image of 'x'; "
        "correct or remove it"
    )
