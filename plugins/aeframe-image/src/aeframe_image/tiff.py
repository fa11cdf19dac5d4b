"""TIFF files that Pillow cannot represent: several bands of more than 8 bits, or bands besides red, green and blue.

They are read and written by the library tifffile, an extra of the plugin that is imported on first use.
"""

from __future__ import annotations

import importlib
import logging
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from aeframe.data.limits import check_memory, check_pixels
from aeframe.errors import AeframeError, first_sentence

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first four bytes of TIFF and BigTIFF files."""
BITS, PHOTOMETRIC, DESCRIPTION, SAMPLES, SUBFILE, EXTRA_SAMPLES, SAMPLE_FORMAT, ORIENTATION = (
    258, 262, 270, 277, 254, 338, 339, 274,
)  # fmt: skip
"""Numbers of tags."""
WHITE_IS_ZERO, CMYK = 0, 5
_COLOUR_SAMPLES = {2: 3, CMYK: 4, 6: 3, 8: 3}
"""Number of samples of RGB, CMYK, YCbCr and Lab; other values of `PHOTOMETRIC` have one."""
_ALPHA = (1, 2)
_ERRORS = (
    OSError, ValueError, EOFError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError,
    RuntimeError, MemoryError, ImportError, struct.error, zlib.error,
)  # fmt: skip
"""Exceptions of tifffile for damaged files and for compressions that it lacks."""


def num_bands(tags: Mapping[int, Any]) -> int:
    """Return the number of samples of a pixel, without alpha."""
    samples, extra = int(tags.get(SAMPLES, 1)), _extra_samples(tags)
    return samples - 1 if extra and extra[0] in _ALPHA else samples


def needs_library(tags: Mapping[int, Any]) -> bool:
    """Return whether Pillow would drop bits or bands of an image with these tags."""
    samples, extra = int(tags.get(SAMPLES, 1)), _extra_samples(tags)
    bits = tags.get(BITS, (1,))
    widest = max(bits) if isinstance(bits, tuple) else int(bits)
    if samples > 1 and widest > 8:
        return True
    num_extra = samples - _COLOUR_SAMPLES.get(tags.get(PHOTOMETRIC, 1), 1)
    return num_extra > 1 or (num_extra == 1 and bool(extra) and extra[0] not in _ALPHA)


def hidden_pages(tags: Mapping[int, Any], count_pages: Callable[[], int]) -> int:
    """Return the number of images that ImageJ stored behind the only page of a file, 0 for other files.

    Args:
        tags: The tags of the first page.
        count_pages: Returns the number of pages, which reads the file to its end.
    """
    lines = str(tags.get(DESCRIPTION, "")).splitlines()
    if not lines or not lines[0].startswith("ImageJ="):
        return 0
    counts = [line.partition("=")[2] for line in lines if line.startswith("images=")]
    num = int(counts[0]) if counts and counts[0].isdecimal() and len(counts[0]) < 10 else 1
    return num if num > 1 and count_pages() == 1 else 0


def full_size_pages(who: str, stream: BinaryIO) -> list[int]:
    """Return the numbers of the pages of a file that Pillow cannot open, without smaller copies of others.

    Raises:
        AeframeError: The library is not installed, or cannot read the file.
    """
    library = _library(_problem(who))
    stream.seek(0)
    try:
        with library.TiffFile(stream) as file:
            return [number for number, page in enumerate(file.pages) if not int(page.subfiletype) & 1]
    except _ERRORS as error:
        raise _undecodable(who, error) from error


def read(who: str, stream: BinaryIO, page_number: int) -> tuple[NDArray[Any], int]:
    """Return the values ``(H, W, C)`` of a page, and the value of its tag for the orientation.

    Alpha is blended with white. Values of a page on which 0 is white are inverted.

    Raises:
        AeframeError: The library is not installed, cannot decode the file, or the image is larger than the limits.
    """
    library = _library(_problem(who))
    stream.seek(0)
    try:
        with library.TiffFile(stream) as file:
            page = file.pages[page_number]
            check_pixels(who, page.imagewidth, page.imagelength)
            check_memory(who, float(np.prod(page.shape, dtype=np.float64)) * page.dtype.itemsize)
            values, axes = page.asarray(), page.axes
            photometric, extra = int(page.photometric), tuple(int(each) for each in page.extrasamples)
            orientation = page.tags.get(ORIENTATION)
    except _ERRORS as error:
        raise _undecodable(who, error) from error
    if axes not in ("YX", "YXS", "SYX") or photometric == CMYK:
        raise AeframeError(f"{who} has the layout {axes} of values, expected grey, RGB or bands; convert it")
    values = values[..., None] if axes == "YX" else values.transpose(1, 2, 0) if axes == "SYX" else values
    if photometric == WHITE_IS_ZERO and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    if extra and extra[0] in _ALPHA:
        values = blended(values[..., : values.shape[-1] - len(extra) + 1])
    return values, int(orientation.value) if orientation is not None else 1


def blended(values: NDArray[Any]) -> NDArray[Any]:
    """Return values ``(H, W, C)`` of which the last channel is alpha, blended with white, without alpha."""
    colour, alpha = values[..., :-1], values[..., -1:]
    white = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    if (alpha == white).all():
        return colour
    opacity = alpha / white
    mixed = colour * opacity + white * (1 - opacity)
    return (mixed.round() if values.dtype.kind in "iu" else mixed).astype(values.dtype)


def write(images: Iterable[NDArray[Any]], path: Path) -> None:
    """Write images ``(H, W)`` or ``(H, W, C)`` as the pages of a new file."""
    library = _library(f"'{path}' would have several bands of more than 8 bits, or other numbers of bands than 1 and 3")
    with library.TiffWriter(path, mode="x") as file:
        for image in images:
            is_colour = image.ndim == 3 and image.shape[-1] == 3
            file.write(
                image,
                photometric="rgb" if is_colour else "minisblack",
                planarconfig="contig" if image.ndim == 3 else None,
                extrasamples=None if is_colour or image.ndim == 2 else [0] * (image.shape[-1] - 1),
                contiguous=False,
                metadata=None,
            )


def _extra_samples(tags: Mapping[int, Any]) -> tuple[int, ...]:
    extra = tags.get(EXTRA_SAMPLES, ())
    return extra if isinstance(extra, tuple) else (int(extra),)


def _problem(who: str) -> str:
    return f"{who} has several bands of more than 8 bits, or bands besides red, green and blue"


def _undecodable(who: str, error: Exception) -> AeframeError:
    return AeframeError(
        f"{who} cannot be decoded by tifffile ({first_sentence(error) or type(error).__name__}); save it without "
        "compression, or install the library imagecodecs"
    )


def _library(problem: str) -> Any:
    # Without a handler, Python prints what the library logs about damaged files, which errors report anyway.
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    try:
        return importlib.import_module("tifffile")
    except ImportError as error:
        raise AeframeError(
            f"{problem}, which requires the library 'tifffile'; install it with pip install 'aeframe-image[tiff]', or "
            "use a NPZ file"
        ) from error
