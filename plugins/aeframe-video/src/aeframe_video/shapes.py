"""Simulated clips of moving shapes, and the dataset `moving_shapes`."""

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
from aeframe_video.videos import RawSplits

KINDS = ("disc", "square", "diamond")
# Bounds of uniform distributions; lengths are in units of the frame size, times in frames.
_RADIUS = (0.14, 0.22)
_SPEED = (0.03, 0.09)
_BRIGHTNESS = (0.5, 1.0)


def simulate(*, clips: int, frames: int, size: int, shapes: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Sample clips of shapes that move in straight lines and bounce off the walls.

    Lengths are in units of the frame size, times in frames. Each shape is a disc, a square or a diamond with equal
    probability, of radius U(0.14, 0.22) and brightness U(0.5, 1) on black. It starts at a uniform position within the
    frame and moves at a speed of U(0.03, 0.09) in a uniform direction, which walls reflect, so that the whole shape is
    always visible. Edges are antialiased over one pixel. Where shapes overlap, the brighter one is visible.

    Returns:
        uint8 ``(clips, frames, size, size)``, and the index in `KINDS` of the first shape of each clip, ``(clips,)``.
    """
    rng = np.random.default_rng(seed)
    per_shape = (clips, shapes)
    kind = rng.integers(len(KINDS), size=per_shape)
    radius, speed, brightness = (rng.uniform(*bounds, size=per_shape) for bounds in (_RADIUS, _SPEED, _BRIGHTNESS))
    angle = rng.uniform(0, 2 * np.pi, size=per_shape)
    # The centre of a shape moves within a square of this width, from `radius` to 1 - `radius`.
    width = (1 - 2 * radius)[..., None]
    start = rng.random((*per_shape, 2)) * width
    velocity = speed[..., None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    # Reflection at the walls is a triangle wave of the distance.
    distance = (start[..., None, :] + velocity[..., None, :] * np.arange(frames)[:, None]) % (2 * width[..., None, :])
    centre = radius[..., None, None] + np.minimum(distance, 2 * width[..., None, :] - distance)
    grid = (np.arange(size) + 0.5) / size
    pixels = np.zeros((clips, frames, size, size))
    for shape in range(shapes):
        dy = np.abs(grid[:, None] - centre[:, shape, :, 0, None, None])
        dx = np.abs(grid[None, :] - centre[:, shape, :, 1, None, None])
        shape_kind = kind[:, shape, None, None, None]
        # A shape is a ball of this radius: in the Euclidean, the maximum or the (scaled) sum norm.
        distances = [np.hypot(dy, dx), np.maximum(dy, dx)]
        to_centre = np.select([shape_kind == 0, shape_kind == 1], distances, (dy + dx) / np.sqrt(2))
        coverage = ((radius[:, shape, None, None, None] - to_centre) * size + 0.5).clip(0, 1)
        pixels = np.maximum(pixels, coverage * brightness[:, shape, None, None, None])
    return (pixels * 255).round().astype(np.uint8), kind[:, 0]


class MovingShapes(Dataset):
    """Simulated greyscale clips of bouncing shapes (`aeframe_video.shapes.simulate`); nothing is downloaded.

    ``extras["label"]`` is the kind of the first shape of a clip: disc, square or diamond.

    Args:
        clips: Number of clips; a tenth of them is for validation, and a tenth for testing.
        frames: Number of frames of a clip.
        size: Height and width of a frame.
        shapes: Number of shapes in each clip.
        seed: Seed of the simulation and of the random splits.
    """

    modality = "video"

    def __init__(self, *, clips: int = 500, frames: int = 8, size: int = 16, shapes: int = 1, seed: int = 0) -> None:
        if min(frames, size, shapes) < 1 or clips < 3:
            raise AeframeError(
                "dataset 'moving_shapes' requires frames, size and shapes of at least 1 and at least 3 clips, found "
                f"{frames}, {size}, {shapes} and {clips}"
            )
        self.options = {"clips": clips, "frames": frames, "size": size, "shapes": shapes, "seed": seed}

    def describe(self) -> Mapping[str, Any]:
        size = self.options["size"]
        return {"shape": (1, size, size), "frames": self.options["frames"]}

    def load(self) -> RawSplits:
        pixels, kinds = simulate(**self.options)
        stack = Stack(torch.from_numpy(pixels).unsqueeze(2), torch.from_numpy(kinds))
        splitter = RandomSplit("dataset 'moving_shapes'", "videos", validation=0.1, test=0.1, seed=self.options["seed"])
        # `split_record`, inherited from `Dataset`, stores the drawn split, so that later runs use the same.
        return splitter.complete({"train": stack}, self.split_record)
