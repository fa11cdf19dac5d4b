"""Decoding of intact and damaged image files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aeframe import AeframeError
from aeframe_image.decode import decode

NEXT_STEP = "; replace it, or leave such files out with on_error=skip"
YY, XX = np.mgrid[:24, :20]
COLOUR = np.stack([XX * 12, YY * 10, (XX + YY) * 5], -1).astype(np.uint8)
GREY = (XX * 6 + YY * 5).astype(np.uint8)


def message(path: Path) -> str:
    with pytest.raises(AeframeError) as caught:
        decode(path)
    return str(caught.value)


def decoded_or_none(path: Path) -> torch.Tensor | None:
    try:
        return decode(path)
    except AeframeError:
        return None


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tiff"])
def test_lossless_formats_are_decoded_exactly(tmp_path: Path, name: str) -> None:
    Image.fromarray(COLOUR).save(tmp_path / name)
    assert torch.equal(decode(tmp_path / name), torch.from_numpy(COLOUR).permute(2, 0, 1))


def test_grey_images_have_one_channel_and_jpeg_is_approximate(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.jpg", quality=95)
    pixels = decode(tmp_path / "a.jpg")
    assert pixels.shape == (1, 24, 20)
    assert (pixels[0].int() - torch.from_numpy(GREY).int()).abs().max() <= 4


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    bits = GREY > 100
    Image.fromarray(bits).save(tmp_path / "a.png")
    assert torch.equal(decode(tmp_path / "a.png")[0], torch.from_numpy(bits).to(torch.uint8) * 255)


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    # 65535 / 255 = 257; values are rounded.
    wide = np.array([[0, 1, 128, 129, 257, 40000, 65535]], dtype=np.uint16)
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").tolist() == [[[0, 0, 0, 1, 1, 156, 255]]]


@pytest.mark.parametrize(
    ("grey", "expected"), [(False, [[[255, 10]], [[127, 20]], [[127, 30]]]), (True, [[[155, 10]]])]
)
def test_transparent_pixels_are_blended_with_white(tmp_path: Path, grey: bool, expected: list[list[list[int]]]) -> None:
    image = Image.new("LA", (2, 1)) if grey else Image.new("RGBA", (2, 1))
    image.putpixel((0, 0), (55, 128) if grey else (255, 0, 0, 128))
    image.putpixel((1, 0), (10, 255) if grey else (10, 20, 30, 255))
    image.save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").tolist() == expected


def test_a_palette_and_its_transparent_colour_are_resolved(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([9, 8, 7, 1, 2, 3])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", transparency=1)
    assert decode(tmp_path / "a.png").flatten(1).T.tolist() == [[9, 8, 7], [1, 2, 3]]
    assert decode(tmp_path / "b.png").flatten(1).T.tolist() == [[9, 8, 7], [255, 255, 255]]


def test_an_animation_is_decoded_to_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "a.gif")[:, 0, 0].tolist() == [255, 0, 0]


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise for display
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    turned = np.rot90(COLOUR, -1).copy()
    assert torch.equal(decode(tmp_path / "a.png"), torch.from_numpy(turned).permute(2, 0, 1))


def test_each_flipped_bit_of_a_png_is_detected(tmp_path: Path) -> None:
    """Without the check of checksums, Pillow decodes at least 10 of these files to wrong pixels."""
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path)
    raw = path.read_bytes()
    true = decode(path)
    for position in range(8, len(raw)):
        path.write_bytes(raw[:position] + bytes([raw[position] ^ 4]) + raw[position + 1 :])
        if (pixels := decoded_or_none(path)) is not None:
            assert torch.equal(pixels, true), position


def test_a_truncated_png(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path)
    path.write_bytes(path.read_bytes()[:60])
    assert message(path) == f"image '{path}' cannot be decoded (Truncated File Read){NEXT_STEP}"


def test_a_truncated_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(COLOUR).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:-20])
    assert re.fullmatch(
        re.escape(f"image '{path}' cannot be decoded (image file is truncated (")
        + r"\d+ bytes not processed\)"
        + re.escape(f"){NEXT_STEP}"),
        message(path),
    )


def test_a_text_file_with_the_extension_png(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("no image")
    assert message(path) == f"image '{path}' cannot be decoded (no image format is recognised){NEXT_STEP}"


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    assert message(path) == f"image '{path}' is empty (0 bytes){NEXT_STEP}"


def test_a_missing_file(tmp_path: Path) -> None:
    assert message(tmp_path / "a.png") == f"there is no image file '{tmp_path / 'a.png'}'"


def test_floats_have_no_known_range(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(GREY.astype(np.float32)).save(path)
    assert message(path) == (
        f"image '{path}' has values from 0 to 229, so that it is not known which of them mean black and white; save it "
        "with 8 bits"
    )
