"""The map: PCA, codes of one or two numbers, UMAP, directions."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.explorer.embedding import Embedding, Method, check_method, make_embedding


def embed(codes: Tensor, method: Method = "pca") -> Embedding:
    return make_embedding(np.arange(len(codes)), codes, {}, method, seed=0)


def test_pca_finds_the_plane_of_the_codes() -> None:
    generator = torch.Generator().manual_seed(0)
    plane = torch.randn(500, 2, generator=generator) * torch.tensor([5.0, 2.0])
    basis = torch.linalg.qr(torch.randn(6, 2, generator=generator)).Q
    found = embed(plane @ basis.T + 3.0)
    # Distances in the plane are kept, whatever the signs of its axes.
    assert np.allclose(np.abs(np.corrcoef(found.points[:, 0], plane[:, 0])[0, 1]), 1.0, atol=1e-2)
    assert torch.allclose(torch.cdist(torch.from_numpy(found.points), torch.from_numpy(found.points)),
                          torch.cdist(plane, plane), atol=1e-2)  # fmt: skip
    assert found.principal.scales[:2].tolist() == pytest.approx([5.0, 2.0], rel=0.1)
    assert found.axes[0].startswith("component 1 (8")


@pytest.mark.parametrize("dim", [1, 2])
def test_codes_of_one_or_two_numbers_stay_as_they_are(dim: int) -> None:
    codes = torch.randn(20, dim)
    found = embed(codes)
    assert np.array_equal(found.points[:, :dim], codes.numpy())
    assert np.isfinite(found.points).all()


@pytest.mark.parametrize("codes", [torch.zeros(5, 3), torch.ones(1, 3), torch.randn(3, 2, 4, 4), torch.randn(2, 9)])
def test_few_and_equal_codes_have_points(codes: Tensor) -> None:
    found = embed(codes)
    assert found.points.shape == (len(codes), 2)
    assert np.isfinite(found.points).all()


def test_single_numbers_are_sorted_by_their_variance() -> None:
    codes = torch.randn(200, 3) * torch.tensor([1.0, 5.0, 0.1])
    directions = embed(codes).numbers
    assert directions.names == ("z 1", "z 0", "z 2")
    moved = directions.move(torch.zeros(3), {0: 2.0})
    assert moved.tolist() == pytest.approx([0.0, 2 * float(codes[:, 1].std(correction=0)), 0.0])


def test_umap_places_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    # The library compiles for a minute when it is imported.
    options: dict[str, Any] = {}

    class Umap:
        def __init__(self, **given: Any) -> None:
            options.update(given)

        def fit_transform(self, codes: Any) -> Any:
            return codes[:, 1:3]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Umap))
    codes = torch.randn(8, 5)
    found = embed(codes, "umap")
    assert np.array_equal(found.points, codes[:, 1:3].numpy())
    assert found.axes == ("UMAP 1", "UMAP 2")
    assert options == {"n_neighbors": 7, "random_state": 0, "n_jobs": 1}
    with pytest.raises(AeframeError, match="at least 4 samples, found 3; use --map pca"):
        embed(codes[:3], "umap")


def test_umap_is_refused_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_method("pca")
    with pytest.raises(AeframeError, match=r"pip install 'aeframe\[umap\]', or use --map pca$"):
        check_method("umap")
