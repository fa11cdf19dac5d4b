"""Write images as PNG or TIFF files, or as NPZ."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter
from torch import Tensor

from aeframe.data.array_batches import write_npz
from aeframe.errors import AeframeError
from aeframe_image import png16, tiff
from aeframe_image.decode import EXTENSIONS, TIFF_EXTENSIONS

_SINGLE = TIFF_EXTENSIONS | {".png", ".npz"}


def channels_last(values: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Return images ``(N, C, H, W)`` as an array ``(N, H, W)`` if C = 1, otherwise ``(N, H, W, C)``."""
    array: NDArray[Any] = values.numpy() if isinstance(values, Tensor) else values
    images = array.transpose(0, 2, 3, 1)
    return images[..., 0] if images.shape[-1] == 1 else images


def write_images(
    batches: Iterable[NDArray[Any]],
    path: Path,
    num: int,
    names: Sequence[str] | None = None,
    is_unit: bool = False,
) -> list[Path]:
    """Write images ``(B, H, W)`` or ``(B, H, W, C)`` while they are computed; return the files.

    Grey and RGB images of uint8, uint16 (with 16 bits) or floats in [0, 1] (scaled to 16 bits) become PNG files, or
    TIFF files with the values themselves if their names end so; other images become TIFF files.

    Args:
        batches: uint8, wider integers, or float32.
        path: A ``.png`` for a single image, a ``.tif`` with a page for each, a ``.npz`` for the arrays ``x`` and
            ``name``, or a folder.
        num: The number of images in all batches.
        names: The name of each image, which a file of the folder has with another suffix; None for numbers.
        is_unit: Whether floats are from 0 (black) to 1 (white).

    Raises:
        AeframeError: Another suffix, several images for one PNG, or an image that PNG cannot hold.
    """
    suffix = path.suffix.lower()
    if suffix in (EXTENSIONS | {".npy"}) - _SINGLE:
        raise AeframeError(
            f"modality 'image' writes PNG and TIFF files and NPZ, not '{path.name}'; end the path in .png, .tif or "
            ".npz, or name a folder"
        )
    if suffix == ".png" and num != 1:
        raise AeframeError(
            f"modality 'image' has {num} images for one file '{path.name}'; name a folder, or a .tif with a page for "
            "each"
        )
    if suffix == ".npz":
        write_npz(path, "x", batches, num, after=None if names is None else {"name": np.array(list(names), np.str_)})
        return [path]
    images = itertools.chain.from_iterable(batches)
    first = next(images)
    # The first image, of which its batch is a part, is not held in memory until the end.
    images, dtype, shape = itertools.chain([first], images), first.dtype, first.shape
    fits_png = _fits_png(first, is_unit)
    del first
    if suffix == ".png" and not fits_png:
        raise AeframeError(
            f"modality 'image' cannot write images of {dtype} and shape {shape} as '{path.name}'; end the "
            "path in .tif or .npz"
        )
    if suffix in TIFF_EXTENSIONS:
        _write_tiff(images, path)
        return [path]
    files = [path] if suffix in _SINGLE else _paths(path, num, names, ".png" if fits_png else ".tif")
    for file, image in zip(files, images, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix.lower() == ".png":
            _write_png(image, file)
        else:
            _write_tiff(iter([image]), file)
    return files


def _fits_png(image: NDArray[Any], is_unit: bool) -> bool:
    """Return whether PNG holds the values of images like this one; `is_unit`: floats are from 0 to 1."""
    fits = image.dtype in (np.uint8, np.uint16) or (image.dtype == np.float32 and is_unit)
    return fits and (image.ndim == 2 or image.shape[-1] == 3)


def _write_png(image: NDArray[Any], path: Path) -> None:
    if image.dtype == np.float32:
        image = (image * np.iinfo(np.uint16).max).round().astype(np.uint16)
    if image.dtype == np.uint16 and image.ndim == 3:
        png16.write(image, path)
    else:
        Image.fromarray(np.ascontiguousarray(image)).save(path, format="PNG")


def _write_tiff(images: Iterator[NDArray[Any]], path: Path) -> None:
    """Write images as the pages of a file, while they are computed."""
    first = next(images)
    images, dtype, shape = itertools.chain([first], images), first.dtype, first.shape
    del first
    images = (image.astype(np.int32) if image.dtype == np.int16 else image for image in images)
    is_bytes = dtype == np.uint8 and (len(shape) == 2 or shape[-1] == 3)
    if not is_bytes and (len(shape) == 3 or dtype not in (np.uint16, np.int16, np.int32, np.float32)):
        tiff.write(images, path)
        return
    # `Image.save` would hold all pages in memory.
    with AppendingTiffWriter(str(path), new=True) as file:
        for image in images:
            Image.fromarray(np.ascontiguousarray(image)).save(file, format="TIFF")
            file.newFrame()


def _paths(folder: Path, num: int, names: Sequence[str] | None, default: str) -> list[Path]:
    """Return a different path below `folder` for each of `num` images, with the suffix `default` where it is free."""
    if names is None:
        return [folder / f"{number:06d}{default}" for number in range(num)]
    insides = [PurePosixPath(*_parts(name) or (f"{number:06d}",)) for number, name in enumerate(names)]
    # Some file systems do not distinguish capitals.
    taken = {str(parent).lower() for inside in insides for parent in inside.parents}
    paths: dict[int, Path] = {}
    # A name that is kept as it is precedes one that gets another suffix: x.jpg becomes x.png unless there is one.
    for number in sorted(range(len(insides)), key=lambda number: not _keeps_suffix(insides[number], default)):
        inside = insides[number]
        file_name, hash_sign, page = inside.name.partition("#")
        suffix = PurePosixPath(file_name).suffix
        stem = (file_name.removesuffix(suffix) if suffix.lower() in EXTENSIONS else file_name) + hash_sign + page
        ending = suffix if _keeps_suffix(inside, default) else default
        others = (f"{stem}-{count}" for count in itertools.count(2))
        candidates = (inside.with_name(f"{each}{ending}") for each in itertools.chain((stem, inside.name), others))
        chosen = next(each for each in candidates if str(each).lower() not in taken)
        taken.add(str(chosen).lower())
        paths[number] = folder / chosen
    return [paths[number] for number in range(len(insides))]


def _keeps_suffix(inside: PurePosixPath, default: str) -> bool:
    """Return whether a file is written with the suffix of its name."""
    suffix = PurePosixPath(inside.name.partition("#")[0]).suffix.lower()
    return suffix in TIFF_EXTENSIONS or suffix == default


def _parts(name: str) -> list[str]:
    """Return the folders and the file of a name, without those that would lead out of a folder."""
    parts = name.replace("\\", "/").replace("\0", "").split("/")
    return [part.replace(":", "_") for part in parts if part not in ("", ".", "..")]
