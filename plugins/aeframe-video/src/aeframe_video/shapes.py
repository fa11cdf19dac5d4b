"""Shapes that move by a stated model: nothing to download, and everything about them is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe_image.pictures import Stack
from aeframe_video.clips import RawSplits

KINDS = ("disc", "square", "diamond")
_RADIUS = (0.14, 0.22)
_SPEED = (0.03, 0.09)
_BRIGHTNESS = (0.5, 1.0)


def simulate(*, clips: int, frames: int, size: int, shapes: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Draw clips of shapes that move in straight lines and bounce off the walls.

    Lengths are in sides of the picture and times in frames. Each shape is a disc, a square or a diamond (evenly), of
    radius U(0.14, 0.22) and brightness U(0.5, 1) on black; its centre begins anywhere at which it lies within the
    picture, and moves at a speed of U(0.03, 0.09) in any direction, mirrored at the walls, so that the whole shape is
    always seen. Edges are soft over one pixel. Where shapes meet, the brighter one is seen.

    Returns:
        uint8 ``(clips, frames, size, size)``, and the place in `KINDS` of each clip's first shape, ``(clips,)``.
    """
    rng = np.random.default_rng(seed)
    each = (clips, shapes)
    kind = rng.integers(len(KINDS), size=each)
    radius, speed, brightness = (rng.uniform(*bounds, size=each) for bounds in (_RADIUS, _SPEED, _BRIGHTNESS))
    angle = rng.uniform(0, 2 * np.pi, size=each)
    free = (1 - 2 * radius)[..., None]
    start = rng.random((*each, 2)) * free
    velocity = speed[..., None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    # Folding a straight line back into its range is the same as bouncing.
    way = (start[..., None, :] + velocity[..., None, :] * np.arange(frames)[:, None]) % (2 * free[..., None, :])
    centre = radius[..., None, None] + np.minimum(way, 2 * free[..., None, :] - way)
    grid = (np.arange(size) + 0.5) / size
    picture = np.zeros((clips, frames, size, size))
    for one in range(shapes):
        dy = np.abs(grid[:, None] - centre[:, one, :, 0, None, None])
        dx = np.abs(grid[None, :] - centre[:, one, :, 1, None, None])
        which = kind[:, one, None, None, None]
        distance = np.select([which == 0, which == 1], [np.hypot(dy, dx), np.maximum(dy, dx)], (dy + dx) / np.sqrt(2))
        cover = ((radius[:, one, None, None, None] - distance) * size + 0.5).clip(0, 1)
        picture = np.maximum(picture, cover * brightness[:, one, None, None, None])
    return (picture * 255).round().astype(np.uint8), kind[:, 0]


class MovingShapes(Dataset):
    """Grey clips of shapes that bounce off the walls (`aeframe_video.shapes.simulate`), embedded.

    ``extras["label"]`` is the kind of a clip's first shape: disc, square or diamond.

    Args:
        clips: How many, of which a tenth each is for validation and test.
        frames: Of a clip.
        size: Height and width.
        shapes: In each clip.
        seed: Of the draw and of the splits.
    """

    modality = "video"

    def __init__(self, *, clips: int = 500, frames: int = 8, size: int = 16, shapes: int = 1, seed: int = 0) -> None:
        if min(frames, size, shapes) < 1 or clips < 3:
            raise AeframeError(
                "dataset 'moving_shapes' needs frames, size and shapes of at least 1 and at least 3 clips, found "
                f"{frames}, {size}, {shapes} and {clips}"
            )
        self.options = {"clips": clips, "frames": frames, "size": size, "shapes": shapes, "seed": seed}

    def describe(self) -> Mapping[str, Any]:
        size = self.options["size"]
        return {"shape": (1, size, size), "frames": self.options["frames"]}

    def load(self) -> RawSplits:
        pixels, kinds = simulate(**self.options)
        stack = Stack(torch.from_numpy(pixels).unsqueeze(2), torch.from_numpy(kinds))
        shares = RandomSplit("dataset 'moving_shapes'", "videos", validation=0.1, test=0.1, seed=self.options["seed"])
        return shares.complete({"train": stack}, self.split_record)
