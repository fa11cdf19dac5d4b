"""Principal directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from aeframe.evaluation.principal_directions import principal_directions


@pytest.mark.parametrize(("num_rows", "num_columns"), [(50, 6), (4, 9), (40, 2100)])
def test_they_are_those_of_scikit_learn(num_rows: int, num_columns: int) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(num_rows, num_columns)) * np.r_[5, 3, np.full(num_columns - 2, 0.01)] + 7
    found = principal_directions(torch.from_numpy(x), 2)
    expected = PCA(2).fit(x)
    signs = np.sign((found.vectors.numpy() * expected.components_).sum(1))
    assert found.mean.numpy() == pytest.approx(expected.mean_)
    assert found.vectors.numpy() == pytest.approx(expected.components_ * signs[:, None], abs=1e-5)
    assert found.scales.square().numpy() == pytest.approx(expected.explained_variance_, rel=1e-6)
    assert found.fractions.numpy() == pytest.approx(expected.explained_variance_ratio_, rel=1e-6)
    assert found.project(torch.from_numpy(x)).numpy() == pytest.approx(expected.transform(x) * signs, abs=1e-4)
    assert (found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True)) > 0).all()


def test_constant_rows_have_directions_without_variance() -> None:
    found = principal_directions(torch.full((3, 2), 1e4))
    assert found.scales.tolist() == [0, 0]
    assert found.fractions.tolist() == [0, 0]
    assert len(principal_directions(torch.ones(1, 4), 3).vectors) == 1
