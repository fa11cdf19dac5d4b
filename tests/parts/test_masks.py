"""Corruptions that hide positions: how many, where, and the tensors that record them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.types import Batch, Domain, Shape

MASKS = ["patches", "blocks", "spans"]
SHAPES: list[Shape] = [(2, 24), (3, 8, 12), (1, 4, 8, 4)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, shape: Shape, domain: str = "real", **options: Any) -> Any:
    return build("corruption", {"name": name, **options}, shape=shape, domain=Domain.parse(domain))


def hidden_of(name: str, shape: Shape, num: int = 200, **options: Any) -> Tensor:
    hidden: Tensor = make(name, shape, **options)(Batch(torch.randn(num, *shape))).extras["hidden"]
    return hidden


# -- properties of each ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MASKS)
def test_x_mask_and_extras_are_consistent(name: str, shape: Shape) -> None:
    x = torch.randn(5, *shape)
    clean = torch.rand(5, *shape) < 0.8
    for mask in (None, clean, clean[..., 0]):
        extras = {"label": torch.arange(5)}
        corrupted = make(name, shape, value=9.0)(Batch(x, mask=mask, extras=extras))
        hidden = corrupted.extras["hidden"]
        assert hidden.shape == x.shape
        assert hidden.any()
        assert not hidden.all()
        assert torch.equal(corrupted.x, x.masked_fill(hidden, 9.0))
        counts = torch.ones_like(clean) if mask is None else mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
        assert torch.equal(corrupted.mask, counts & ~hidden)
        assert torch.equal(corrupted.extras["label"], extras["label"])
        assert set(extras) == {"label"}
        # All channels of a position are hidden together.
        assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))


@pytest.mark.parametrize("name", MASKS)
def test_equally_many_positions_are_hidden_in_each_sample_at_different_places(name: str) -> None:
    hidden = hidden_of(name, (1, 12, 12))
    assert hidden.flatten(1).sum(1).unique().numel() == 1
    assert hidden.flatten(1).unique(dim=0).shape[0] > 3
    # Each position is hidden in some sample.
    assert hidden.any(0).all()


@pytest.mark.parametrize("name", MASKS)
def test_classes_at_positions_are_hidden_too(name: str) -> None:
    shape = (12,)
    corrupted = make(name, shape, "category(5)")(Batch(torch.randint(1, 5, (4, *shape))))
    assert corrupted.x.dtype == torch.long
    assert corrupted.extras["hidden"].shape == (4, 12)
    assert (corrupted.x[corrupted.extras["hidden"]] == 0).all()


@pytest.mark.parametrize("name", MASKS)
def test_in_evaluation(name: str) -> None:
    assert make(name, (1, 8, 8)).in_evaluation == (name == "patches")
    for choice in (True, False):
        assert make(name, (1, 8, 8), in_evaluation=choice).in_evaluation is choice


# -- patches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "patch", "ratio", "num_hidden"),
    [((1, 8, 8), 4, 0.75, 3), ((3, 28, 28), 4, 0.75, 37), ((1, 8, 12), (2, 3), 0.5, 8), ((2, 24), 3, 0.99, 7),
     ((1, 4, 8, 4), 2, 0.75, 12), ((1, 8, 8), 8, 0.9, 0)],
)  # fmt: skip
def test_patches_hide_the_fraction_rounded_to_patches(shape: Shape, patch: Any, ratio: float, num_hidden: int) -> None:
    corrupted = make("patches", shape, patch=patch, ratio=ratio)(Batch(torch.randn(9, *shape)))
    size = patch if isinstance(patch, tuple) else (patch,) * (len(shape) - 1)
    num = math.prod(n // p for n, p in zip(shape[1:], size, strict=True))
    assert (corrupted.extras["hidden"][:, 0].flatten(1).sum(1) == num_hidden * math.prod(size)).all()
    assert corrupted.extras["visible"].shape == (9, num - num_hidden)


def test_visible_patches_are_in_the_order_of_positions() -> None:
    corrupted = make("patches", (1, 4, 6), patch=2, ratio=0.5)(Batch(torch.ones(50, 1, 4, 6)))
    for hidden, visible in zip(corrupted.extras["hidden"][:, 0], corrupted.extras["visible"], strict=True):
        pieces = [hidden[row : row + 2, column : column + 2] for row in (0, 2) for column in (0, 2, 4)]
        # All positions of a patch are hidden together.
        assert all(piece.all() or not piece.any() for piece in pieces)
        assert visible.tolist() == [number for number, piece in enumerate(pieces) if not piece.any()]


def test_all_choices_of_patches_have_equal_probability() -> None:
    corrupted = make("patches", (1, 4), patch=1, ratio=0.5)(Batch(torch.randn(6000, 1, 4)))
    times = Counter(map(tuple, corrupted.extras["visible"].tolist()))
    assert len(times) == 6
    assert all(abs(count - 1000) < 120 for count in times.values())


# -- blocks and spans --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "sides"), [((2, 24), (6,)), ((1, 8, 12), (4, 6)), ((1, 8, 4, 8), (5, 3, 5))])
def test_a_block_is_one_box_at_a_random_place(shape: Shape, sides: tuple[int, ...]) -> None:
    hidden = hidden_of("blocks", shape, num=400)[:, 0]
    corners = set()
    for one in hidden:
        places = one.nonzero()
        low, high = places.amin(0), places.amax(0)
        assert tuple((high - low + 1).tolist()) == sides
        assert len(places) == math.prod(sides)
        corners.add(tuple(low.tolist()))
    expected = math.prod(n - side + 1 for n, side in zip(shape[1:], sides, strict=True))
    assert len(corners) == expected or expected > 40


def test_spans_have_their_length_and_all_arrangements_have_equal_probability() -> None:
    # 2 spans of 2 in 6 positions: C(4, 2) = 6 arrangements.
    hidden = hidden_of("spans", (1, 6), num=6000, ratio=0.66, length=2)[:, 0]
    times = Counter("".join("x" if place else "." for place in row) for row in hidden.tolist())
    assert set(times) == {"xxxx..", "xx.xx.", "xx..xx", ".xxxx.", ".xx.xx", "..xxxx"}
    assert all(abs(count - 1000) < 120 for count in times.values())


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_spans_are_along_one_dimension(axis: int) -> None:
    hidden = hidden_of("spans", (2, 20, 10), axis=axis, length=2)
    along = 2 if axis in (0, -2) else 3
    profile = hidden.any(1).any(2 if along == 2 else 1)
    assert torch.equal(hidden, profile.reshape(200, 1, *((-1, 1) if along == 2 else (1, -1))).expand_as(hidden))
    assert (profile.sum(1) == (6 if along == 2 else 4)).all()  # 1.5 spans of ten positions are rounded to two.


@pytest.mark.parametrize(
    ("n", "ratio", "length", "places"),
    [(8, 0.3, 10, 2), (19, 0.9, 10, 10), (100, 0.3, 10, 30), (100, 0.96, 10, 90), (1, 0.9, 10, 0), (5, 0.0, 3, 0)],
)
def test_spans_never_hide_all_positions(n: int, ratio: float, length: int, places: int) -> None:
    assert (hidden_of("spans", (1, n), ratio=ratio, length=length).flatten(1).sum(1) == places).all()


# -- errors ------------------------------------------------------------------------------------------------------


def test_error_messages() -> None:
    for name, shape, options, sentence in (
        ("patches", (1, 8, 8), {"ratio": 1.0}, "corruption patches needs ratio in [0, 1), found 1.0"),
        (
            "patches", (30,), {},
            "corruption patches needs channels at positions, (C, T), (C, H, W) or (C, D, H, W), found the flat shape "
            "(30,); choose model=dae corruption=elements",
        ),
        (
            "blocks", (1, 2, 2, 2, 2), {},
            "corruption blocks needs channels at positions, (C, T), (C, H, W) or (C, D, H, W), found the shape "
            "(1, 2, 2, 2, 2); choose model=dae corruption=elements",
        ),
        (
            "patches", (1, 9, 8), {},
            "corruption patches cannot cut positions (9, 8) into patches of [4, 4]; the nearest that fits is "
            "patch=[3, 4]",
        ),
        (
            "spans", (1, 8), {"axis": 1},
            "corruption spans needs length of at least 1 and axis in [-1, 0], found 10 and 1",
        ),
    ):  # fmt: skip
        with pytest.raises(AeframeError) as error:
            make(name, shape, **options)
        assert str(error.value) == sentence
