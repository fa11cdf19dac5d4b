"""Write images as PNG files or NPZ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_image.decode import EXTENSIONS


def as_numpy(pixels: Tensor) -> NDArray[np.uint8]:
    """Return uint8 images ``(N, C, H, W)`` as ``(N, H, W)`` if C = 1, otherwise as ``(N, H, W, C)``."""
    images: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).numpy()
    return images[..., 0] if images.shape[-1] == 1 else images


def write_images(pixels: Tensor, path: Path) -> list[Path]:
    """Write uint8 images ``(N, C, H, W)``; return the files.

    Args:
        pixels: The images.
        path: A ``.png`` for a single image, a ``.npz`` for the array ``x``, or a folder for numbered PNG files.

    Raises:
        AeframeError: Another suffix, several images for one PNG, or a file that exists.
    """
    suffix = path.suffix.lower()
    if suffix in (EXTENSIONS | {".npy"}) - {".png"}:
        raise AeframeError(
            f"modality 'image' writes PNG files and NPZ, not '{path.name}'; end the path in .png or .npz, "
            "or name a folder"
        )
    images = as_numpy(pixels)
    if suffix == ".png" and len(images) != 1:
        raise AeframeError(
            f"modality 'image' has {len(images)} images for one file '{path.name}'; name a folder instead"
        )
    files = [path] if suffix in (".png", ".npz") else [path / f"{number:06d}.png" for number in range(len(images))]
    existing = next((file for file in files if file.exists()), None)
    if existing is not None:
        raise AeframeError(f"'{existing}' exists and is not overwritten; remove it, or choose another path")
    (path.parent if suffix in (".png", ".npz") else path).mkdir(parents=True, exist_ok=True)
    if suffix == ".npz":
        np.savez_compressed(path, x=images)
        return files
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file, format="PNG")
    return files
