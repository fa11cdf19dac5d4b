"""Open one image file."""

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
from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.pictures import Place

EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)  # fmt: skip
_GREY = frozenset({"1", "L", "LA", "La"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
# What Pillow raises for files that are cut off, damaged or something else altogether.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
_WAY_OUT = "replace it, or leave such files out of training with modality.on_error=skip"


def decode(place: Place) -> Tensor:
    """Return a file's image as uint8 ``(C, H, W)``, C = 1 where it is stored as grey and 3 otherwise.

    Turned upright as its EXIF tag says. Transparency is composited on white. Of an animation, the first frame is
    taken. 16-bit grey is scaled to 8 bits.

    Raises:
        AeframeError: No such file, an empty or damaged one, or pixels without a known range (32-bit, float).
    """
    if isinstance(place, Path) and not place.is_file():
        raise AeframeError(f"there is no image file '{place}'")
    try:
        content = place.read_bytes() if isinstance(place, Path) else place.read()
        if not content:
            raise AeframeError(f"image '{place}' is empty (0 bytes); {_WAY_OUT}")
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "PNG":
                # Pillow decodes damaged pixels without a word where they still make a stream; the checksums tell.
                image.verify()
        with Image.open(io.BytesIO(content)) as image:
            array = _array(place, ImageOps.exif_transpose(image))
    except _BROKEN as error:
        found = " ".join(str(error).replace(str(place), "").split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            found = "no image format is recognised"
        raise AeframeError(f"image '{place}' cannot be decoded ({found}); {_WAY_OUT}") from error
    return torch.from_numpy(array)


def first_shape(who: str, places: Iterable[Place]) -> Shape:
    """Return the shape ``(C, H, W)`` of the first image that can be decoded.

    Raises:
        AeframeError: None can; the sentence is that of the first.
    """
    return first_opened(
        places, lambda place: tuple(decode(place).shape), sentence=f"{who} has no image that can be decoded"
    )


def _array(place: Place, image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        return ((wide + 128) // 257).astype(np.uint8)[None]
    if image.mode in ("I", "F"):
        raise AeframeError(
            f"image '{place}' has 32-bit pixels (mode {image.mode}), whose range is unknown; "
            "save it with 8 or 16 bits, or as floats in [0, 1] in a NPZ file"
        )
    grey = image.mode in _GREY
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if grey else "RGB")
    array = np.array(image)
    return array[None] if grey else np.ascontiguousarray(array.transpose(2, 0, 1))
