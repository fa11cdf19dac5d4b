"""The squared error of normalised patches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.types import Batch, Domain

SHAPE = (2, 4, 6)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(shape: tuple[int, ...] = SHAPE, **options: Any) -> Any:
    return build("loss", {"name": "patch_mse", **options}, shape=shape, domain=Domain("real"))


def test_it_equals_the_error_of_normalised_patches_in_the_paper() -> None:
    loss, x, output = make(patch=(2, 3)), torch.rand(3, *SHAPE), torch.randn(3, 1, *SHAPE)
    expected = torch.zeros(3)
    for row, column in ((row, column) for row in (0, 2) for column in (0, 3)):
        piece = (slice(None), slice(None), slice(row, row + 2), slice(column, column + 3))
        patch = x[piece].flatten(1)
        target = (patch - patch.mean(1, keepdim=True)) / (patch.var(1, keepdim=True) + 1e-6).sqrt()
        expected += (output[:, 0][piece].flatten(1) - target).square().sum(1)
    # The decoder predicts normalised patches.
    found = loss(loss.postprocess(output, Batch(x)), Batch(x))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_reconstruction_is_in_the_units_of_x() -> None:
    loss, x = make(patch=2), 5 + torch.randn(3, *SHAPE)
    cut = x.reshape(3, 2, 2, 2, 3, 2)
    mean = cut.mean((1, 3, 5), keepdim=True)
    normal = ((cut - mean) / (cut.var((1, 3, 5), keepdim=True) + 1e-6).sqrt()).reshape_as(x)
    torch.testing.assert_close(loss.mean(loss.postprocess(normal.unsqueeze(1), Batch(x))), x)
    assert torch.equal(loss.mean(loss.postprocess(normal.unsqueeze(1), None)), normal)


def test_masked_elements_of_a_patch_have_no_influence() -> None:
    loss, x, output = make(patch=2), torch.randn(3, *SHAPE), torch.randn(3, 1, *SHAPE)
    mask = torch.ones(3, *SHAPE, dtype=torch.bool)
    mask[:, :, 0, 0] = False
    other = x.masked_fill(~mask, float("nan"))
    filled = x.masked_fill(~mask, 100.0)
    for each in (other, filled):
        batch = Batch(each, mask=mask)
        processed = loss.postprocess(output, batch)
        assert processed.isfinite().all()
        torch.testing.assert_close(loss(processed, batch), loss(loss.postprocess(output, Batch(x, mask=mask)), batch))
    seen = torch.cat([x[0, :, 0, 1], x[0, :, 1, 0], x[0, :, 1, 1]])
    at = loss.mean(loss.postprocess(torch.zeros(3, 1, *SHAPE), Batch(other, mask=mask)))[0, 0, 0, 1]
    torch.testing.assert_close(at, seen.mean())


def test_shapes_that_cannot_be_cut_are_errors() -> None:
    for shape, options, sentence in (
        (
            (30,), {},
            "loss patch_mse needs channels at positions, (C, T), (C, H, W) or (C, D, H, W), found the flat shape "
            "(30,); choose loss=mse",
        ),
        (
            SHAPE, {"patch": 4},
            "loss patch_mse cannot cut positions (4, 6) into patches of [4, 4]; the nearest that fits is patch=[4, 3]",
        ),
        (
            SHAPE, {"patch": [2, 2, 2]},
            "loss patch_mse needs patch as one number or 2, one for each dimension of positions (4, 6), found "
            "[2, 2, 2]",
        ),
    ):  # fmt: skip
        with pytest.raises(AeframeError) as error:
            make(shape, **options)
        assert str(error.value) == sentence
