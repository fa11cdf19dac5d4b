"""The corruptions `tubes` and `frames`."""

from __future__ import annotations

import pytest
import torch

from aeframe import AeframeError
from aeframe.types import Batch, Domain
from aeframe_video.masks import FrameMasking, TubeMasking

UNIT = Domain.parse("unit")
SHAPE = (2, 6, 8, 12)


def clips(num: int = 40) -> Batch:
    return Batch(torch.rand(num, *SHAPE) + 0.1)


def test_tubes_mask_the_same_positions_in_all_frames() -> None:
    batch = clips()
    masked = TubeMasking(SHAPE, UNIT, patch=4, ratio=0.5)(batch)
    hidden = masked.extras["hidden"]
    assert torch.equal(hidden, hidden[:, :1, :1].expand_as(hidden))
    patches = hidden[:, 0, 0].unflatten(1, (2, 4)).unflatten(3, (3, 4)).movedim(2, 3).flatten(3)
    assert torch.equal(patches.any(3), patches.all(3))
    # Half of 6 positions, different ones in different clips.
    assert (patches.all(3).flatten(1).sum(1) == 3).all()
    assert len({tuple(row) for row in patches.all(3).flatten(1).tolist()}) > 5
    assert torch.equal(masked.x, batch.x.masked_fill(hidden, 0))
    assert masked.mask is not None
    assert torch.equal(masked.mask, ~hidden)


def test_visible_patches_are_numbered_over_time_height_and_width() -> None:
    tubes = TubeMasking(SHAPE, UNIT, patch=4, frames=3, ratio=0.7)
    assert (tubes.grid, tubes.patch) == ((2, 2, 3), (3, 4, 4))
    masked = tubes(clips(9))
    # A patch is masked if its first pixel is.
    corners = masked.extras["hidden"][:, 0, ::3, ::4, ::4].flatten(1)
    visible = masked.extras["visible"]
    assert visible.shape == (9, 4)
    for row in range(9):
        assert visible[row].tolist() == (~corners[row]).nonzero().flatten().tolist()


def test_one_position_remains_visible() -> None:
    masked = TubeMasking(SHAPE, UNIT, patch=4, ratio=0.99)(clips(3))
    assert (~masked.extras["hidden"]).flatten(1).sum(1).tolist() == [2 * 6 * 16] * 3


@pytest.mark.parametrize(
    ("which", "ratio", "hidden"),
    [
        ("last", 0.5, [3, 4, 5]),
        ("last", 0.2, [5]),
        ("middle", 0.5, [1, 2, 3]),
        ("middle", 0.99, [0, 1, 2, 3, 4]),
        ("last", 0, []),
    ],
)
def test_last_and_middle_frames(which: str, ratio: float, hidden: list[int]) -> None:
    batch = clips(4)
    masked = FrameMasking(SHAPE, UNIT, which=which, ratio=ratio)(batch)  # type: ignore[arg-type]
    is_hidden = masked.extras["hidden"]
    assert is_hidden.shape == batch.x.shape
    for frame in range(6):
        assert bool(is_hidden[:, :, frame].all()) == bool(is_hidden[:, :, frame].any()) == (frame in hidden)


def test_random_frames() -> None:
    hidden = FrameMasking(SHAPE, UNIT, ratio=0.5)(clips(200)).extras["hidden"]
    frames = hidden.movedim(2, 1).flatten(2)
    assert torch.equal(frames.any(2), frames.all(2))
    assert (frames.all(2).sum(1) == 3).all()
    # All 20 subsets occur.
    assert len({tuple(row) for row in frames.all(2).tolist()}) == 20
    runs = FrameMasking(SHAPE, UNIT, ratio=0.5, length=3)(clips(200)).extras["hidden"][:, 0, :, 0, 0]
    assert {tuple(row.nonzero().flatten().tolist()) for row in runs} == {(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5)}


def test_existing_mask_is_kept() -> None:
    batch = clips(2)
    batch.mask = torch.ones(2, *SHAPE, dtype=torch.bool)
    batch.mask[:, :, 0] = False
    masked = FrameMasking(SHAPE, UNIT, which="last", ratio=0.5)(batch)
    assert masked.mask is not None
    assert masked.mask[:, :, [0, 3, 4, 5]].sum() == 0
    assert masked.mask[:, :, 1:3].all()


def test_invalid_options() -> None:
    def refusal(make: object) -> str:
        with pytest.raises(AeframeError) as raised:
            make()  # type: ignore[operator]
        return str(raised.value)

    assert refusal(lambda: TubeMasking((1, 8, 8), UNIT)) == (
        "corruption tubes requires clips (C, T, H, W), found the shape (1, 8, 8); choose corruption=patches or spans "
        "for other data"
    )
    assert refusal(lambda: TubeMasking(SHAPE, UNIT, patch=5)) == (
        "corruption tubes requires frames and patch that divide the shape of a clip, [6, 8, 12] (frames, height, "
        "width), found frames=2 and patch=5"
    )
    assert refusal(lambda: FrameMasking(SHAPE, UNIT, ratio=1)) == "corruption frames requires ratio in [0, 1), found 1"
    assert refusal(lambda: FrameMasking(SHAPE, UNIT, length=0)) == (
        "corruption frames requires length of at least 1, found 0"
    )
