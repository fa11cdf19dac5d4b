"""The simulated shapes match their model."""

from __future__ import annotations

import numpy as np
import pytest

from aeframe import AeframeError
from aeframe_video.shapes import KINDS, MovingShapes, simulate


def test_size_and_speed_of_shapes() -> None:
    size = 64
    pixels, kinds = simulate(clips=40, frames=20, size=size, shapes=1, seed=3)
    assert pixels.shape == (40, 20, size, size)
    assert pixels.dtype == np.uint8
    assert set(kinds) == set(range(len(KINDS)))
    coverage = pixels / pixels.max((1, 2, 3), keepdims=True)
    area = coverage.sum((2, 3)) / size**2
    # The area is constant, and that of its kind for a radius in [0.14, 0.22].
    assert (area.std(1) / area.mean(1) < 0.02).all()
    factor = np.array([np.pi, 4.0, 4.0])
    radius = np.sqrt(area.mean(1) / factor[kinds])
    # The radius of a diamond is the distance of its sides from the centre, so that its area is that of a square.
    assert (radius > 0.135).all()
    assert (radius < 0.225).all()
    assert (pixels.max((1, 2, 3)) >= 127).all()
    grid = (np.arange(size) + 0.5) / size
    weight = coverage.sum((2, 3))
    y, x = (coverage * grid[:, None]).sum((2, 3)) / weight, (coverage * grid).sum((2, 3)) / weight
    speed = np.hypot(np.diff(y, axis=1), np.diff(x, axis=1))
    assert speed.max() < 0.093
    # The speed is constant, except for shorter steps at walls.
    assert (np.median(speed, 1) > 0.028).all()
    turns = np.abs(np.diff(y, 2, axis=1)) + np.abs(np.diff(x, 2, axis=1)) > 0.004
    assert 0 < turns.mean() < 0.5


def test_seed_determines_the_simulation() -> None:
    options = {"clips": 5, "frames": 4, "size": 12, "shapes": 2}
    first, repeated, other = (simulate(seed=seed, **options)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, repeated)
    assert not np.array_equal(first, other)


def test_splits_of_moving_shapes() -> None:
    splits = MovingShapes(clips=50, frames=5, size=12).load()
    assert {name: split.pixels.shape for name, split in splits.items()} == {  # type: ignore[union-attr]
        "train": (40, 5, 1, 12, 12),
        "validation": (5, 5, 1, 12, 12),
        "test": (5, 5, 1, 12, 12),
    }
    with pytest.raises(AeframeError) as raised:
        MovingShapes(size=0)
    assert str(raised.value) == (
        "dataset 'moving_shapes' requires frames, size and shapes of at least 1 and at least 3 clips, found 8, 0, 1 "
        "and 500"
    )
