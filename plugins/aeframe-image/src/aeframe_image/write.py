"""Write images as PNG or TIFF files, or as NPZ."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_image import png16, tiff
from aeframe_image.decode import EXTENSIONS, TIFF_EXTENSIONS

_SINGLE = TIFF_EXTENSIONS | {".png", ".npz"}


def channels_last(values: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Return images ``(N, C, H, W)`` as an array ``(N, H, W)`` if C = 1, otherwise ``(N, H, W, C)``."""
    array: NDArray[Any] = values.numpy() if isinstance(values, Tensor) else values
    images = array.transpose(0, 2, 3, 1)
    return images[..., 0] if images.shape[-1] == 1 else images


def write_images(images: NDArray[Any], path: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Write images ``(N, H, W)`` or ``(N, H, W, C)``; return the files.

    Grey and RGB images of uint8, uint16 (with 16 bits) or floats in [0, 1] (scaled to 16 bits) become PNG files, or
    TIFF files with the values themselves if their names end so; other images become TIFF files.

    Args:
        images: uint8, wider integers, or float32.
        path: A ``.png`` for a single image, a ``.tif`` with a page for each, a ``.npz`` for the arrays ``x`` and
            ``name``, or a folder.
        names: The name of each image, which a file of the folder has with another suffix; None for numbers.

    Raises:
        AeframeError: Another suffix, several images for one PNG, an image that PNG cannot hold, or a file that exists.
    """
    suffix = path.suffix.lower()
    if suffix in (EXTENSIONS | {".npy"}) - _SINGLE:
        raise AeframeError(
            f"modality 'image' writes PNG and TIFF files and NPZ, not '{path.name}'; end the path in .png, .tif or "
            ".npz, or name a folder"
        )
    if suffix == ".png" and len(images) != 1:
        raise AeframeError(
            f"modality 'image' has {len(images)} images for one file '{path.name}'; name a folder, or a .tif with a "
            "page for each"
        )
    if suffix == ".png" and not _fits_png(images):
        raise AeframeError(
            f"modality 'image' cannot write images of {images.dtype} and shape {images.shape[1:]} as '{path.name}'; "
            "end the path in .tif or .npz"
        )
    files = [path] if suffix in _SINGLE else _paths(path, images, names)
    existing = next((file for file in files if file.exists()), None)
    if existing is not None:
        raise AeframeError(f"'{existing}' exists and is not overwritten; remove it, or choose another path")
    for folder in dict.fromkeys(file.parent for file in files):
        folder.mkdir(parents=True, exist_ok=True)
    if suffix == ".npz":
        if names is None:
            np.savez_compressed(path, x=images)
        else:
            np.savez_compressed(path, x=images, name=np.array(list(names), np.str_))
    elif suffix in TIFF_EXTENSIONS:
        _write_tiff(images, path)
    else:
        for file, image in zip(files, images, strict=True):
            if file.suffix.lower() == ".png":
                _write_png(image, file)
            else:
                _write_tiff(image[None], file)
    return files


def _fits_png(images: NDArray[Any]) -> bool:
    """Return whether PNG holds the values; floats are taken for those from 0 (black) to 1 (white) if they all are."""
    is_unit = images.dtype == np.float32 and images.size > 0 and images.min() >= 0 and images.max() <= 1
    return (is_unit or images.dtype in (np.uint8, np.uint16)) and (images.ndim == 3 or images.shape[-1] == 3)


def _write_png(image: NDArray[Any], path: Path) -> None:
    if image.dtype == np.float32:
        image = (image * np.iinfo(np.uint16).max).round().astype(np.uint16)
    if image.dtype == np.uint16 and image.ndim == 3:
        png16.write(image, path)
    else:
        Image.fromarray(np.ascontiguousarray(image)).save(path, format="PNG")


def _write_tiff(images: NDArray[Any], path: Path) -> None:
    """Write images as the pages of a file."""
    images = images.astype(np.int32) if images.dtype == np.int16 else images
    is_bytes = images.dtype == np.uint8 and (images.ndim == 3 or images.shape[-1] == 3)
    if not is_bytes and (images.ndim == 4 or images.dtype not in (np.uint16, np.int32, np.float32)):
        tiff.write([*images], path)
        return
    first, *others = (Image.fromarray(np.ascontiguousarray(image)) for image in images)
    first.save(path, format="TIFF", save_all=bool(others), append_images=others)


def _paths(folder: Path, images: NDArray[Any], names: Sequence[str] | None) -> list[Path]:
    """Return a different path below `folder` for each image."""
    default = ".png" if _fits_png(images) else ".tif"
    if names is None:
        return [folder / f"{number:06d}{default}" for number in range(len(images))]
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
