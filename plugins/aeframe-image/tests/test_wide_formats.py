"""Colour PNG of 16 bits, TIFF with bands, bits and orientations of every kind, and limits of size."""

from __future__ import annotations

import contextlib
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from aeframe import AeframeError
from aeframe_image import png16
from aeframe_image.decode import decode, decode_values, read_header
from aeframe_image.folder import ImageFolder
from aeframe_image.modality import Image
from aeframe_image.pictures import Picture

RNG = np.random.default_rng(0)
WIDE = RNG.integers(0, 4096, (12, 7, 5, 3)).astype(np.uint16)


def png(path: Path, values: NDArray[np.uint16], colour: int, filters: list[int], interlaced: bool = False) -> None:
    """Write a PNG of 16 bits, row by row with the given filters, by the definition of the format."""
    height, width, channels = values.shape
    size = 2 * channels
    data = b""
    passes = png16._ADAM7 if interlaced else ((0, 0, 1, 1),)
    for column, row, column_step, row_step in passes:
        part = values[row::row_step, column::column_step]
        if not part.size:
            continue
        above = [0] * (part.shape[1] * size)
        for number, line in enumerate(part):
            raw = list(line.astype(">u2").tobytes())
            kind = filters[number % len(filters)]
            encoded = []
            for position, value in enumerate(raw):
                left = raw[position - size] if position >= size else 0
                corner = above[position - size] if position >= size else 0
                up = above[position]
                estimate = left + up - corner
                paeth = min((left, up, corner), key=lambda each: abs(estimate - each))
                encoded.append((value - (0, left, up, (left + up) // 2, paeth)[kind]) % 256)
            data += bytes([kind, *encoded])
            above = raw
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, interlaced))]
    compressed = zlib.compress(data)
    chunks += [(b"IDAT", compressed[:20]), (b"IDAT", compressed[20:]), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def tiff(path: Path, data: bytes, *, bits: int, samples: int) -> Path:
    """Write a TIFF of 2 x 1 pixels without compression."""
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: 1, 273: 8, 277: samples, 278: 1, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data += b"\0" * (len(data) % 2)
    directory = struct.pack("<H", len(tags)) + entries + b"\0" * 4
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    return path


@pytest.mark.parametrize("filters", [[0], [1], [2], [3], [4], [4, 3, 2, 1, 0]])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_colour_png_of_16_bits_is_read_exactly(tmp_path: Path, filters: list[int], interlaced: bool) -> None:
    path = tmp_path / "a.png"
    png(path, WIDE[0], 2, filters, interlaced)
    # Pillow takes the file for an intact PNG.
    with Pillow.open(path) as image:
        assert image.size == (5, 7)
    decoded = decode_values(path)
    np.testing.assert_array_equal(decoded.pixels.permute(1, 2, 0).numpy(), WIDE[0])
    assert (read_header(path).bands, read_header(path).kind) == (3, "integer")


@pytest.mark.parametrize(("colour", "channels"), [(4, 2), (6, 4)])
def test_transparency_of_16_bits_is_blended_with_white(tmp_path: Path, colour: int, channels: int) -> None:
    values = np.full((2, 3, channels), 1000, np.uint16)
    values[..., -1] = 65535
    values[0, 0, -1] = 0
    png(tmp_path / "a.png", values, colour, [0])
    pixels = decode_values(tmp_path / "a.png").pixels
    assert pixels.shape[0] == channels - 1
    assert pixels[0].tolist() == [[65535, 1000, 1000], [1000, 1000, 1000]]


def test_a_damaged_colour_png_of_16_bits_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    png(path, WIDE[0], 2, [4])
    content = path.read_bytes()
    for position in range(8, len(content), 3):
        for damaged in (content[:position], content[:position] + b"\xff" + content[position + 1 :]):
            path.write_bytes(damaged)
            # Any other error fails the test.
            with contextlib.suppress(AeframeError):
                decode_values(path)


def test_colour_of_12_bits_is_trained_and_written_with_16(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, image in enumerate(WIDE):
        png16.write(image, tmp_path / "in" / f"{number:02}.png")
    modality = Image()
    modality.prepare(ImageFolder(path=tmp_path / "in"))
    assert modality.levels.learned == {"integer": (0, 4095)}
    samples = modality.open(tmp_path / "in", "raise")
    x = samples.batch().x
    np.testing.assert_array_equal(modality.restore_samples(x), WIDE)
    modality.write(x, tmp_path / "out", names=[f"{number:02}.png" for number in range(12)])
    assert torch.equal(modality.read(tmp_path / "out").x, x)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, WIDE[0], photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    exif = Pillow.Exif()
    exif[274] = orientation
    Pillow.fromarray((WIDE[0] // 16).astype(np.uint8)).save(tmp_path / "b.png", exif=exif)
    assert torch.equal(decode_values(path).pixels // 16, decode(tmp_path / "b.png").int())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("bands", [2, 4, 5, 13])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_of_any_number_of_bands(tmp_path: Path, dtype: Any, bands: int, planar: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = (
        RNG.random((7, 6, bands)).astype(dtype)
        if dtype in (np.float32, np.float64)
        else RNG.integers(0, 250, (7, 6, bands)).astype(dtype)
    )
    stored = values if planar == "contig" else values.transpose(2, 0, 1)
    extra = [0] * (bands - 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar, extrasamples=extra)
    np.testing.assert_array_equal(decode_values(tmp_path / "a.tif").pixels.permute(1, 2, 0).numpy(), values)
    assert read_header(tmp_path / "a.tif").bands == bands


def test_four_bands_are_trained_and_written_as_tiff(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "in").mkdir()
    images = RNG.integers(0, 3000, (12, 8, 8, 4)).astype(np.uint16)
    for number, image in enumerate(images):
        tifffile.imwrite(tmp_path / "in" / f"{number:02}.tif", image, photometric="rgb", extrasamples=[0])
    modality = Image()
    splits = modality.prepare(ImageFolder(path=tmp_path / "in"))
    assert splits.train.batch(torch.arange(2)).x.shape == (2, 4, 8, 8)
    samples = modality.open(tmp_path / "in", "raise")
    x = samples.batch().x
    modality.write(x, tmp_path / "out", names=[f"{number:02}.tif" for number in range(12)])
    modality.write(x, tmp_path / "out.tif")
    for path in (tmp_path / "out", tmp_path / "out.tif"):
        assert torch.equal(modality.read(path).x, x)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "03.tif"), images[3])


def test_alpha_in_tiff_is_no_band(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.concatenate([WIDE[0], np.full((7, 5, 1), 65535, np.uint16)], -1)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(decode_values(tmp_path / "a.tif").pixels.permute(1, 2, 0).numpy(), WIDE[0])
    assert read_header(tmp_path / "a.tif").bands == 3


def test_white_is_zero(tmp_path: Path) -> None:
    Pillow.fromarray(WIDE[0, ..., 0]).save(tmp_path / "a.tif", tiffinfo={262: 0})
    pixels = decode_values(tmp_path / "a.tif").pixels
    np.testing.assert_array_equal(pixels[0].numpy(), 65535 - WIDE[0, ..., 0].astype(int))


def test_12_bits_that_a_tiff_states(tmp_path: Path) -> None:
    # Two values of 12 bits are three bytes: 0x123 and 0xFED.
    path = tiff(tmp_path / "a.tif", b"\x12\x3f\xed", bits=12, samples=1)
    decoded = decode_values(path)
    assert decoded.declared == (0, 4095)
    assert decoded.pixels.tolist() == [[[0x123, 0xFED]]]


def test_unsigned_32_bits_and_signed_16_bits(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    for dtype, values in ((np.uint32, [0, 2**32 - 1]), (np.int16, [-1000, 3000])):
        tifffile.imwrite(tmp_path / "a.tif", np.array([values], dtype))
        assert decode_values(tmp_path / "a.tif").pixels.tolist() == [[values]]


def test_bands_without_the_library_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiff(tmp_path / "a.tif", bytes(10), bits=8, samples=5)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(AeframeError) as caught:
        decode_values(tmp_path / "a.tif")
    assert str(caught.value) == (
        f"image '{tmp_path}/a.tif' has several bands of more than 8 bits, or bands besides red, green and blue, which "
        "requires the library 'tifffile'; install it with pip install 'aeframe-image[tiff]', or use a NPZ file"
    )
    with pytest.raises(AeframeError, match="requires the library 'tifffile'"):
        Image().write(torch.rand(2, 4, 5, 5), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [np.uint16, np.float32, bool])
def test_pictures_of_arrays(value: Any) -> None:
    decoded = decode_values(Picture(np.eye(4, dtype=value), 0))
    assert decoded.pixels.shape == (1, 4, 4)
    assert read_header(Picture(np.eye(4, dtype=value), 0)).bands == 1


# -- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif", ".webp", ".bmp"])
def test_a_picture_above_the_limit_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Pillow.new("L", (300, 400)).save(path)
    monkeypatch.setenv("AEFRAME_MAX_MEGAPIXELS", "0.1")
    monkeypatch.setattr(Pillow.Image, "load", None)
    with pytest.raises(AeframeError) as caught:
        decode_values(path)
    assert str(caught.value) == (
        f"image '{path}' has 300 x 400 pixels, and the limit is 0.1 megapixels; scale it down, or set the environment "
        "variable AEFRAME_MAX_MEGAPIXELS to more megapixels"
    )


@pytest.mark.parametrize("megapixels", [150, 400])
def test_the_limit_of_pillow_is_replaced(tmp_path: Path, megapixels: int) -> None:
    # Pillow warns above 89 megapixels and refuses above 179.
    path = tmp_path / "a.png"
    header = struct.pack(">IIBBBBB", megapixels * 1000, 1000, 8, 0, 0, 0, 0)
    body = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    limit = Pillow.MAX_IMAGE_PIXELS
    with pytest.raises(AeframeError, match=f"has {megapixels}000 x 1000 pixels, and the limit is 100 megapixels"):
        decode_values(path)
    assert limit == Pillow.MAX_IMAGE_PIXELS


def test_an_array_above_the_limit_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100, 100, 100), np.uint8))
    monkeypatch.setenv("AEFRAME_MAX_GB", "0.0005")
    with pytest.raises(AeframeError) as caught:
        Image().read(tmp_path / "a.npz")
    assert str(caught.value) == (
        f"'{tmp_path}/a.npz': array 'x' of shape (100, 100, 100) would occupy 1 MB of memory, and the limit is 500 kB; "
        "use a smaller file, or set the environment variable AEFRAME_MAX_GB to more gigabytes"
    )
