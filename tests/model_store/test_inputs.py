"""Batches that a model receives: those of sources that pad to the longest sample only."""

from __future__ import annotations

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.model_store.inputs import Labels, as_batch
from aeframe.types import Batch, DataSpec, Domain


def prepared(x: torch.Tensor, mask: torch.Tensor | None, shape: tuple[int, ...]) -> Batch:
    return as_batch("model", Batch(x, mask=mask), None, DataSpec(shape, Domain("real")), Labels())


@pytest.mark.parametrize(
    ("x", "mask", "shape"),
    [((2, 3), (2, 3), (5,)), ((2, 3, 4), (2, 3), (5, 4)), ((2, 3, 2), (2, 3, 2), (4, 6)), ((2, 5), (2, 5), (5,))],
)
def test_shorter_masked_samples_are_padded(x: tuple[int, ...], mask: tuple[int, ...], shape: tuple[int, ...]) -> None:
    values, unmasked = torch.rand(x), torch.ones(mask, dtype=torch.bool)
    batch = prepared(values, unmasked, shape)
    assert batch.x.shape == (2, *shape)
    assert batch.mask is not None
    assert batch.mask.shape == (2, *shape[: len(mask) - 1])
    inner = tuple(slice(size) for size in x)
    assert torch.equal(batch.x[inner], values)
    assert int(batch.mask.sum()) == int(batch.mask[tuple(slice(size) for size in mask)].sum()) == unmasked.numel()


@pytest.mark.parametrize(
    ("x", "mask", "shape"), [((2, 3), None, (5,)), ((2, 6), (2, 6), (5,)), ((2, 3, 4), (2, 3), (5, 6))]
)
def test_other_shapes_are_errors(x: tuple[int, ...], mask: tuple[int, ...] | None, shape: tuple[int, ...]) -> None:
    with pytest.raises(AeframeError, match=r"^model expects x of shape \(N, "):
        prepared(torch.rand(x), None if mask is None else torch.ones(mask, dtype=torch.bool), shape)
