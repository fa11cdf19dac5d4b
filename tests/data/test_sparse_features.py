"""The dataset ``sparse_features``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aeframe.data.sparse_features import SparseFeatures
from aeframe.data.vector import Vector
from aeframe.errors import AeframeError
from aeframe.types import TRUE_CODE


def true_code(**options: Any) -> NDArray[np.float32]:
    splits = SparseFeatures(**options).load()
    return np.concatenate([rows.extras[TRUE_CODE] for rows in (splits.train, splits.validation, splits.test)])


def test_samples_are_sums_of_the_features_of_the_dictionary() -> None:
    dataset = SparseFeatures(samples=100, features=8, dim=5, active=2, noise=0)
    dictionary = dataset.dictionary()
    assert dictionary.shape == (8, 5)
    assert np.linalg.norm(dictionary, axis=1) == pytest.approx(np.ones(8))
    splits = dataset.load()
    for rows, num in ((splits.train, 80), (splits.validation, 10), (splits.test, 10)):
        assert rows.array.shape == (num, 5)
        assert rows.array == pytest.approx(rows.extras[TRUE_CODE] @ dictionary, abs=1e-5)
    noisy = SparseFeatures(samples=4000, features=8, dim=5, active=2, noise=0.3).load().train
    assert (noisy.array - noisy.extras[TRUE_CODE] @ dictionary).std() == pytest.approx(0.3, rel=0.05)


def test_frequencies_magnitudes_and_correlation() -> None:
    code = true_code(samples=20_000, features=10, active=2.5)
    active = code > 0
    assert active.mean(0) == pytest.approx(np.full(10, 0.25), abs=0.02)
    assert 0.5 <= code[active].min() < code[active].max() <= 1.5
    decaying = (true_code(samples=20_000, features=10, active=2, decay=0.8) > 0).mean(0)
    assert decaying.sum() == pytest.approx(2, abs=0.05)
    assert decaying[1:4] / decaying[:3] == pytest.approx([0.8] * 3, abs=0.06)
    together = true_code(samples=20_000, features=10, active=2.5, correlation=0.6) > 0
    assert together.mean(0) == pytest.approx(np.full(10, 0.25), abs=0.02)
    assert np.corrcoef(active.T)[0, 1:] == pytest.approx(np.zeros(9), abs=0.03)
    assert np.corrcoef(together.T)[0, 1:].min() > 0.3


def test_the_seed_determines_everything() -> None:
    first, same, other = (SparseFeatures(samples=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.dictionary(), same.dictionary())
    assert np.array_equal(first.load().train.array, same.load().train.array)
    assert not np.allclose(first.dictionary(), other.dictionary())
    # The samples do not depend on how many follow, and the dictionary not on the samples.
    assert np.array_equal(first.dictionary(), SparseFeatures(samples=9, seed=1).dictionary())


def test_the_true_code_reaches_the_batch() -> None:
    splits = Vector().prepare(SparseFeatures(samples=50))
    batch = splits.train.batch(torch.tensor([3, 1]))
    assert batch.extras[TRUE_CODE].shape == (2, 64)
    assert torch.equal(batch.extras[TRUE_CODE][1], splits.train.batch(torch.tensor([1])).extras[TRUE_CODE][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"active": 64},
            "requires features and dim of at least 1, and active above 0 and below features, found features=64, dim=32 "
            "and active=64",
        ),
        (
            {"decay": 1.5},
            "requires decay above 0 and at most 1, correlation from 0 to below 1 and noise of at least 0, found "
            "decay=1.5, correlation=0 and noise=0.02",
        ),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        SparseFeatures(**options)
    assert str(caught.value) == f"dataset 'sparse_features' {message}"


def test_frequencies_above_one_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        SparseFeatures(active=20, decay=0.5)
    assert str(caught.value) == (
        "dataset 'sparse_features': with active=20 and decay=0.5 the first feature has a probability of 10, expected "
        "at most 1; lower active, or set decay closer to 1"
    )
