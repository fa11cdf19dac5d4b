"""The nearest codes, found block by block, are those of the matrix of all distances."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aeframe.evaluation.nearest import nearest_codes
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.latents.gaussian import Gaussian
from aeframe.parts.latents.poincare import Poincare

SPACES: dict[str, LatentSpace] = {"euclidean": Gaussian((8,), dim=3), "poincare": Poincare((8,), dim=3)}


def codes(num: int, seed: int) -> Tensor:
    return torch.randn(num, 3, generator=torch.Generator().manual_seed(seed)).div(6).clamp(-0.5, 0.5)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("max_distances", [1, 20, 64, 10_000])
@pytest.mark.parametrize("k", [1, 5, 37])
def test_blocks_have_the_neighbours_of_the_whole_matrix(space: str, max_distances: int, k: int) -> None:
    queries, known = codes(6, 0), codes(37, 1)
    with torch.no_grad():
        distance, rows = nearest_codes(SPACES[space], queries, known, k, max_distances=max_distances)
        expected = SPACES[space].distances(queries, known).sort(1)
    assert torch.equal(distance, expected.values[:, :k])
    assert torch.equal(rows, expected.indices[:, :k])


def test_few_distances_are_computed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Recorded(Gaussian):
        def distances(self, a: Tensor, b: Tensor) -> Tensor:
            found = super().distances(a, b)
            sizes.append(found.numel())
            return found

    nearest_codes(Recorded((8,), dim=3), codes(6, 0), codes(500, 1), 4, max_distances=60)
    assert sizes == [60] * 50
