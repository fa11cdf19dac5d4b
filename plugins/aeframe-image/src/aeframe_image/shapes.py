"""Simulated images of one shape with known factors of variation, and the dataset `shapes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe_image.pictures import RawSplits, Stack

FACTORS: Mapping[str, int] = {"shape": 3, "scale": 5, "rotation": 12, "x": 10, "y": 10}
"""Number of values of each factor."""
SHAPES = ("triangle", "half disc", "angle")
# In units of the width of the image.
_RADII = (0.14, 0.26)
_CENTRES = (0.28, 0.72)
_CHUNK = 512
"""Number of images that are drawn at a time."""


def draw(factors: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Return images of one white shape on black ``(N, size, size)``, with edges antialiased over one pixel.

    Shapes are a triangle with two equal sides, a half disc and an angle. None of them equals a rotated copy of itself,
    so that every image has one rotation. Scales (circumradii of 0.14 to 0.26 widths) and positions are evenly spaced,
    and the shape is always inside of the image. A full turn is divided evenly into rotations.

    Args:
        factors: ``(N, 5)``: numbers of the values of `FACTORS`.
        size: Height and width.
    """
    grid = (np.arange(size) + 0.5) / size
    images = np.empty((len(factors), size, size), np.uint8)
    for start in range(0, len(factors), _CHUNK):
        shape, scale, rotation, x, y = factors[start : start + _CHUNK].T[:, :, None, None]
        radius = np.linspace(*_RADII, FACTORS["scale"])[scale]
        turn = 2 * np.pi / FACTORS["rotation"] * rotation
        dx = (grid[None, None, :] - np.linspace(*_CENTRES, FACTORS["x"])[x]) / radius
        dy = (grid[None, :, None] - np.linspace(*_CENTRES, FACTORS["y"])[y]) / radius
        # The coordinates in the frame of the shape, in units of its radius.
        u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
        distance = np.choose(shape, [_triangle(u, v), _half_disc(u, v), _angle(u, v)]) * radius * size
        images[start : start + _CHUNK] = (255 * (0.5 - distance).clip(0, 1)).round()
    return images


def _triangle(u: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    """Return the signed distance from the edge of a triangle with corners on the unit circle, negative inside."""
    corners = np.array([(1.0, 0.0), (-0.8, 0.6), (-0.8, -0.6)])
    edges = np.roll(corners, -1, 0) - corners
    normals = np.stack([edges[:, 1], -edges[:, 0]], 1) / np.hypot(*edges.T)[:, None]
    sides = [nu * (u - cu) + nv * (v - cv) for (nu, nv), (cu, cv) in zip(normals, corners, strict=True)]
    return np.maximum.reduce(sides)


def _half_disc(u: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    """As `_triangle`, for the lower half of the unit disc."""
    return np.maximum(np.hypot(u, v) - 1, -v)


def _angle(u: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    """As `_triangle`, for two bars with a common end: the letter L."""
    upright = np.maximum(np.abs(u + 0.35) - 0.25, np.abs(v) - 0.75)
    foot = np.maximum(np.abs(u) - 0.6, np.abs(v - 0.5) - 0.25)
    return np.minimum(upright, foot)


class Shapes(Dataset):
    """Simulated grey images of one shape (`aeframe_image.shapes.draw`) with five known factors of variation; nothing is
    downloaded.

    ``extras["factors"]`` are the numbers of shape (3 values), scale (5), rotation (12), x (10) and y (10), for metrics
    such as ``mig``. ``extras["label"]`` is the shape: triangle, half disc or angle. The images are a random subset of
    all 18,000 combinations.

    Args:
        images: Number of images.
        size: Height and width of an image.
        validation: Fraction of the images for validation.
        test: Fraction of the images for testing.
        seed: Seed of the subset and of the random splits.
    """

    modality = "image"
    factor_names = tuple(FACTORS)
    label_names = SHAPES

    def __init__(
        self, *, images: int = 10_000, size: int = 32, validation: float = 0.1, test: float = 0.2, seed: int = 0
    ) -> None:
        num_combinations = int(np.prod(list(FACTORS.values())))
        if not 3 <= images <= num_combinations or size < 8:
            raise AeframeError(
                f"dataset 'shapes' requires images from 3 to {num_combinations} and size of at least 8, found {images} "
                f"and {size}"
            )
        self.images, self.size, self.seed = images, size, seed
        self.splitter = RandomSplit("dataset 'shapes'", "images", validation=validation, test=test, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        return {"shape": (1, self.size, self.size)}

    def load(self) -> RawSplits:
        sizes = tuple(FACTORS.values())
        rows = np.random.default_rng(self.seed).choice(np.prod(sizes), self.images, replace=False)
        factors = np.stack(np.unravel_index(rows, sizes), 1).astype(np.int64)
        pixels = torch.from_numpy(draw(factors, self.size)).unsqueeze(1)
        stack = Stack(pixels, torch.from_numpy(factors[:, 0].copy()), factors=torch.from_numpy(factors))
        # `split_record`, inherited from `Dataset`, stores the drawn split, so that later runs use the same.
        return self.splitter.complete({"train": stack}, self.split_record)
