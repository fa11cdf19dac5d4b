"""Decode an image file, or a picture in memory, to pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from aeframe.data.folders import first_opened
from aeframe.data.samples import as_array
from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.arrays import layout_of, shared_pixels
from aeframe_image.pictures import ImageFile, Picture

EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)  # fmt: skip
_GREY = frozenset({"1", "L", "LA", "La"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
# Exceptions of Pillow for truncated, damaged or unsupported files.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
_NEXT_STEP = "replace it, or leave such files out of training with modality.on_error=skip"


def decode(file: ImageFile) -> Tensor:
    """Return an image of a file or in memory as uint8 ``(C, H, W)``, with C = 1 for grey formats and 3 otherwise.

    The EXIF orientation is applied. Transparent pixels are blended with white. Of an animation, the first frame is
    returned. 16-bit grey values are scaled to 8 bits.

    Raises:
        AeframeError: No such file, an empty or damaged file, or pixels without a known value range (32-bit, float).
    """
    if isinstance(file, Path) and not file.is_file():
        raise AeframeError(f"there is no image file '{file}'")
    if isinstance(file, Picture) and not isinstance(file.image, Image.Image):
        return _from_array(file)
    try:
        if isinstance(file, Picture):
            # A picture that PIL opened is read from its file here.
            return torch.from_numpy(_to_array(file, ImageOps.exif_transpose(file.image)))
        content = file.read_bytes() if isinstance(file, Path) else file.read()
        if not content:
            raise AeframeError(f"image '{file}' is empty (0 bytes); {_NEXT_STEP}")
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "PNG":
                # Without this, Pillow ignores wrong checksums and may return damaged pixels.
                image.verify()
        with Image.open(io.BytesIO(content)) as image:
            array = _to_array(file, ImageOps.exif_transpose(image))
    except _BROKEN as error:
        reason = " ".join(str(error).replace(str(file), "").split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "no image format is recognised"
        raise AeframeError(f"image '{file}' cannot be decoded ({reason}); {_NEXT_STEP}") from error
    return torch.from_numpy(array)


def _from_array(picture: Picture) -> Tensor:
    """Return the pixels ``(C, H, W)`` of a picture that is an array; an array of bytes is not copied."""
    array = as_array(picture.image)
    if array.dtype not in (np.uint8, np.bool_):
        raise AeframeError(
            f"{picture} has dtype {array.dtype}, expected uint8 or bool in a list of images of different shapes; "
            "convert it to uint8"
        )
    layout, _ = layout_of(str(picture), (1, *array.shape))
    return shared_pixels(array[None], layout)[0]


def first_shape(who: str, files: Iterable[ImageFile]) -> Shape:
    """Return the shape ``(C, H, W)`` of the first image that can be decoded.

    Raises:
        AeframeError: No image can be decoded; the message includes the error of the first.
    """
    return first_opened(
        files, lambda file: tuple(decode(file).shape), sentence=f"{who} has no image that can be decoded"
    )


def _to_array(file: ImageFile, image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if image.mode.startswith("I;16"):
        # 65535 is 257 * 255, so division by 257, with rounding, maps 16 bits to 8.
        grey_16_bit = np.asarray(image).astype(np.uint32)
        return ((grey_16_bit + 128) // 257).astype(np.uint8)[None]
    if image.mode in ("I", "F"):
        raise AeframeError(
            f"image '{file}' has 32-bit pixels (mode {image.mode}) of unknown range; "
            + (
                "convert it to 8 or 16 bits, or all images to arrays of floats in [0, 1]"
                if isinstance(file, Picture)
                else "save it with 8 or 16 bits, or as floats in [0, 1] in a NPZ file"
            )
        )
    is_grey = image.mode in _GREY
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if is_grey else "RGB")
    array = np.array(image)
    return array[None] if is_grey else np.ascontiguousarray(array.transpose(2, 0, 1))
