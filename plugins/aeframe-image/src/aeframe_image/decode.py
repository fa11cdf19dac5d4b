"""Decode an image file, or a picture in memory, to its values."""

from __future__ import annotations

import io
import logging
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from aeframe.data.limits import check_pixels
from aeframe.data.samples import as_array
from aeframe.errors import AeframeError
from aeframe_image import png16, tiff
from aeframe_image.arrays import layout_of, shared_pixels, shared_tensor
from aeframe_image.pictures import ImageFile, Page, Picture
from aeframe_image.ranges import Kind, Range, kind_of

TIFF_EXTENSIONS = frozenset({".tif", ".tiff"})
EXTENSIONS = TIFF_EXTENSIONS | {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif",
    ".webp", ".gif", ".bmp", ".dib", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".psd", ".pcx", ".qoi", ".sgi",
    ".rgb", ".rgba", ".bw", ".dds", ".ras", ".xbm", ".xpm",
}  # fmt: skip
"""Suffixes of the image files in a folder."""
NEXT_STEP = "replace it, or leave such files out with on_error=skip"
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError,
    RuntimeError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""Exceptions of Pillow for truncated, damaged or unsupported files."""
_GREY = frozenset({"1", "L", "LA", "La"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_ANIMATIONS = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_PPM_WHITE = 65535.0
"""Pillow scales the values of a PGM of more than 8 bits so that the maximum in its header becomes this."""
# Values of the EXIF orientation at which rows and columns are swapped first, and then rows or columns reversed.
_TRANSPOSED, _REVERSED_ROWS, _REVERSED_COLUMNS = (5, 6, 7, 8), (3, 4, 7, 8), (2, 3, 6, 7)
_opening = threading.Lock()
# Without a handler, Python prints the messages of a library's logger about damaged files, which errors report anyway.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Decoded:
    """The values of an image."""

    pixels: Tensor
    """``(C, H, W)``: uint8, or wider integers or floats as the file has them."""
    declared: Range | None = None
    """The values of black and white that the file states; None if it states none."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an image states."""

    bands: int
    kind: Kind
    is_animation: bool = False
    num_pages: int = 1
    """Number of full-size pages of a TIFF file."""


def decode_values(file: ImageFile) -> Decoded:
    """Return the values of an image of a file or in memory; C is 1 for grey formats, and 3 for colour or more bands.

    The EXIF orientation is applied. Transparent pixels are blended with white. Of an animation, the first frame is
    returned.

    Raises:
        AeframeError: No such file, an empty or damaged file, one above the limits, or values that are not finite.
    """
    if isinstance(file, Picture) and not isinstance(file.image, Image.Image):
        return _finite(file, Decoded(_pixels_of_array(file)))
    with _reasons(file):
        if isinstance(file, Picture):
            # A picture that PIL opened is read from its file here.
            return _finite(file, _values(file.image))
        with _stream(file) as stream:
            return _finite(file, _from_stream(file, stream))


def decode(file: ImageFile) -> Tensor:
    """Return an image as uint8 ``(C, H, W)``, see `decode_values`.

    Values of 16 bits are scaled from the range that the file states, or else from 0 to 65535, and floats from [0, 1].

    Raises:
        AeframeError: As for `decode_values`, or values outside this range, or only in its darkest tenth.
    """
    decoded = decode_values(file)
    pixels = decoded.pixels
    if pixels.dtype == torch.uint8:
        return pixels
    low, high = decoded.declared or ((0.0, 1.0) if pixels.is_floating_point() else (0.0, 65535.0))
    smallest, largest = (float(value) for value in pixels.aminmax())
    if smallest < low or not low + (high - low) / 10 < largest <= high:
        raise AeframeError(
            f"image '{file}' has values from {smallest:g} to {largest:g}, so that it is not known which of them mean "
            "black and white; save it with 8 bits"
        )
    return ((pixels.double() - low) / (high - low) * 255).round().to(torch.uint8)


def read_header(file: ImageFile) -> Header:
    """Return what the header of an image states; no pixels are decoded.

    Raises:
        AeframeError: The header cannot be read.
    """
    if isinstance(file, Picture) and not isinstance(file.image, Image.Image):
        pixels = _pixels_of_array(file)
        return Header(len(pixels), kind_of(pixels.dtype))
    with _reasons(file):
        if isinstance(file, Picture):
            return _header(file.image, 0)
        with _stream(file) as stream:
            head = stream.read(26)
            if png16.is_wide_colour(head):
                return Header(1 if head[25] == png16.GREY_ALPHA else 3, "integer")
            try:
                image = _opened(stream)
            except UnidentifiedImageError:
                if head[:4] not in tiff.MAGIC:
                    raise
                values, _ = tiff.read(f"image '{file}'", stream, _page(file))
                return Header(values.shape[-1], "float" if values.dtype.kind == "f" else "integer")
            with image:
                return _header(image, _page(file))


def full_size_pages(path: Path) -> list[int]:
    """Return the numbers of the pages of a TIFF file, without those that are smaller copies of others.

    Raises:
        AeframeError: The file cannot be read.
    """
    with _reasons(path), _stream(path) as stream:
        try:
            image = _opened(stream)
        except UnidentifiedImageError:
            return tiff.full_size_pages(f"image '{path}'", stream) or [0]
        with image:
            num = getattr(image, "n_frames", 1)
            if num == 1:
                return [0]
            pages = []
            for number in range(num):
                image.seek(number)
                if not int(tags_of(image).get(tiff.SUBFILE, 0)) & 1:
                    pages.append(number)
    return pages or [0]


def tags_of(image: Image.Image) -> Mapping[int, Any]:
    """Return the tags of the current page of a TIFF, empty for other formats."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return tags


@contextmanager
def _reasons(file: ImageFile) -> Iterator[None]:
    """Replace errors of Pillow by one that names the file."""
    try:
        yield
    except BROKEN as error:
        reason = " ".join(str(error).replace(str(file), "").split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "no image format is recognised"
        raise AeframeError(f"image '{file}' cannot be decoded ({reason}); {NEXT_STEP}") from error


@contextmanager
def _stream(file: ImageFile) -> Iterator[BinaryIO]:
    path = file.path if isinstance(file, Page) else file if isinstance(file, Path) else None
    if path is None:
        assert not isinstance(file, (Page, Path, Picture))
        content = file.read()
        if not content:
            raise AeframeError(f"image '{file}' is empty (0 bytes); {NEXT_STEP}")
        yield io.BytesIO(content)
        return
    if not path.is_file():
        raise AeframeError(f"there is no image file '{path}'")
    with path.open("rb") as stream:
        if not stream.read(1):
            raise AeframeError(f"image '{path}' is empty (0 bytes); {NEXT_STEP}")
        stream.seek(0)
        yield stream


def _page(file: ImageFile) -> int:
    return file.number if isinstance(file, Page) else 0


def _opened(stream: BinaryIO) -> Image.Image:
    """Open a picture without the limit of Pillow, which only warns at first, and which `check_pixels` replaces."""
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            stream.seek(0)
            return Image.open(stream)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _from_stream(file: ImageFile, stream: BinaryIO) -> Decoded:
    who, page = f"image '{file}'", _page(file)
    head = stream.read(26)
    try:
        image = _opened(stream)
    except UnidentifiedImageError:
        if head[:4] not in tiff.MAGIC:
            raise
        return _from_library(who, stream, page)
    check_pixels(who, *image.size)
    if image.format == "PNG":
        # Without this, Pillow ignores wrong checksums and may return damaged pixels.
        image.verify()
        image = _opened(stream)
    with image:
        if page:
            image.seek(page)
            check_pixels(who, *image.size)
        if png16.is_wide_colour(head):
            orientation = image.getexif().get(tiff.ORIENTATION, 1)
            values: NDArray[Any] = png16.read(who, stream)
            return _from_values(tiff.blended(values) if values.shape[-1] in (2, 4) else values, orientation)
        if image.format == "TIFF":
            hidden = tiff.hidden_pages(tags_of(image), lambda: getattr(image, "n_frames", 1))
            if hidden:
                raise AeframeError(f"{who} has {hidden} images of ImageJ in one page; save it as an image sequence")
            if tiff.needs_library(tags_of(image)):
                return _from_library(who, stream, page)
        return _values(image)


def _from_library(who: str, stream: BinaryIO, page: int) -> Decoded:
    return _from_values(*tiff.read(who, stream, page))


def _from_values(values: NDArray[Any], orientation: int) -> Decoded:
    """Return values ``(H, W, C)`` as `Decoded`, turned by the value of their EXIF orientation."""
    values = values.transpose(1, 0, 2) if orientation in _TRANSPOSED else values
    values = values[::-1] if orientation in _REVERSED_ROWS else values
    values = values[:, ::-1] if orientation in _REVERSED_COLUMNS else values
    return Decoded(_tensor(np.ascontiguousarray(values.transpose(2, 0, 1))))


def _values(image: Image.Image) -> Decoded:
    """Return the values of a picture that Pillow represents without loss."""
    tags, image_format = tags_of(image), image.format
    image = ImageOps.exif_transpose(image)
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _wide_values(np.asarray(image), mode, tags, image_format)
    is_grey = mode in _GREY
    if mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    array = np.array(image.convert("L" if is_grey else "RGB"))
    return Decoded(torch.from_numpy(array[None] if is_grey else np.ascontiguousarray(array.transpose(2, 0, 1))))


def _wide_values(array: NDArray[Any], mode: str, tags: Mapping[int, Any], image_format: str | None) -> Decoded:
    """Return grey values ``(H, W)`` of more than 8 bits."""
    declared: Range | None = (0.0, _PPM_WHITE) if image_format == "PPM" and mode == "I" else None
    bits, is_unsigned = tags.get(tiff.BITS, (0,)), tags.get(tiff.SAMPLE_FORMAT, (1,))[0] == 1
    if mode == "I" and bits == (32,) and is_unsigned:
        array = array.view(np.uint32)
    elif 8 < bits[0] < 16:
        declared = (0.0, float(2 ** bits[0] - 1))
    if tags.get(tiff.PHOTOMETRIC) == tiff.WHITE_IS_ZERO and array.dtype.kind == "u":
        array = np.iinfo(array.dtype).max - array
    return Decoded(_tensor(array[None]), declared)


def _header(image: Image.Image, page: int) -> Header:
    mode, tags = image.mode, tags_of(image)
    if page:
        image.seek(page)
    bands = tiff.num_bands(tags) if image.format == "TIFF" and tiff.needs_library(tags) else 0
    is_wide = bands > 0 and max(np.atleast_1d(tags.get(tiff.BITS, 8))) > 8
    is_float = mode == "F" or (is_wide and tags.get(tiff.SAMPLE_FORMAT, (1,))[0] == 3)
    is_grey = mode in _GREY or mode in ("I", "F") or mode.startswith("I;16")
    kind: Kind = "float" if is_float else "integer" if is_wide or mode[0] == "I" else "bytes"
    is_animation = image.format in _ANIMATIONS and bool(getattr(image, "is_animated", False))
    num_pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    return Header(bands or (1 if is_grey else 3), kind, is_animation, num_pages)


def _pixels_of_array(picture: Picture) -> Tensor:
    """Return the pixels ``(C, H, W)`` of a picture that is an array; an array of bytes is not copied."""
    array = as_array(picture.image)
    if array.dtype.kind not in "buif":
        raise AeframeError(f"{picture} has dtype {array.dtype}, expected numbers; convert it to uint8")
    layout, _ = layout_of(str(picture), (1, *array.shape))
    return _tensor(shared_pixels(array[None], layout)[0])


def _tensor(array: NDArray[Any] | Tensor) -> Tensor:
    """Return values as a tensor of uint8, a signed integer that holds them, or float32 (float64 for doubles)."""
    if isinstance(array, np.ndarray):
        array = shared_tensor(array)
    # torch computes little with unsigned integers of more than 8 bits.
    wider = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.float64}
    return array.to(wider.get(array.dtype, torch.float32 if array.dtype == torch.float16 else array.dtype))


def _finite(file: ImageFile, decoded: Decoded) -> Decoded:
    pixels = decoded.pixels
    if pixels.is_floating_point() and not bool(pixels.isfinite().all()):
        num = int((~pixels.isfinite()).sum())
        raise AeframeError(
            f"image '{file}' has {num} of {pixels.numel()} values that are NaN or infinite; replace them, or leave "
            "such files out with on_error=skip"
        )
    return decoded
