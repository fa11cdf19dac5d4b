"""Imputation, compared with the closed form of a linear Gaussian model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.data.modality import Modality
from aeframe.data.where import Where
from aeframe.errors import AeframeError
from aeframe.model_store.imputation import Imputation, accepting_missing, impute, impute_batch
from aeframe.model_store.reader import load
from aeframe.model_store.trained_model import TrainedModel
from aeframe.types import Batch
from tests.model_store.conftest import Save
from tests.model_store.linear_gaussian import NAMES, LinearGaussian, save_linear_gaussian

TRUTH = LinearGaussian.of()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    folder = tmp_path_factory.mktemp("ppca")
    save_linear_gaussian(folder, TRUTH)
    return load(folder)


def with_gaps(num: int = 30, seed: int = 1) -> pd.DataFrame:
    """Return rows of which about a third of the cells are missing, but never all of a row."""
    values = TRUTH.draw(num, seed)
    gaps = np.random.default_rng(seed).random(values.shape) < 0.35
    gaps[:, 0] &= ~gaps.all(1)
    values[gaps] = np.nan
    return pd.DataFrame(values, columns=NAMES)


def test_means_converge_to_the_conditional_mean(model: TrainedModel) -> None:
    frame = with_gaps()
    filled = aeframe.impute(model, frame, iterations=200)
    for row, x in enumerate(frame.to_numpy()):
        expected, _ = TRUTH.conditional(x)
        assert filled.to_numpy()[row, np.isnan(x)] == pytest.approx(expected, abs=1e-4)
    few = aeframe.impute(model, frame, iterations=1)
    assert not np.allclose(few, filled, atol=0.05)


def test_draws_have_the_conditional_distribution(model: TrainedModel) -> None:
    row = with_gaps(1).to_numpy()[0]
    row[[1, 3]] = np.nan
    row[[0, 2, 4]] = [0.5, -1.0, 2.0]
    frame = pd.DataFrame(np.tile(row, (20_000, 1)), columns=NAMES)
    drawn = impute(model, frame, draw=True, iterations=40, seed=5, batch_size=4096)[["b", "d"]].to_numpy()
    mean, covariance = TRUTH.conditional(row)
    # Equal rows have independent draws; the standard error of a mean is about 0.01.
    assert drawn.mean(0) == pytest.approx(mean, abs=0.04)
    assert np.cov(drawn.T) == pytest.approx(covariance, abs=0.04)


def test_observed_values_never_change(model: TrainedModel) -> None:
    frame = with_gaps().assign(other="text")
    before = frame.copy()
    for draw in (False, True):
        filled = impute(model, frame, draw=draw)
        assert not filled[NAMES].isna().any(axis=None)
        observed = before[NAMES].notna()
        # Bit by bit, although the model computes in single precision.
        assert filled[NAMES].where(observed).equals(before[NAMES].where(observed))
        assert filled["other"].equals(before["other"])
    pd.testing.assert_frame_equal(frame, before)


def test_arrays_and_complete_rows(model: TrainedModel) -> None:
    array = with_gaps().to_numpy()
    filled = impute(model, array)
    assert np.array_equal(filled[~np.isnan(array)], array[~np.isnan(array)])
    assert np.array_equal(filled, impute(model, with_gaps()).to_numpy())
    complete = TRUTH.draw(4, 2)
    assert np.array_equal(impute(model, complete), complete)


@pytest.mark.parametrize("draw", [False, True])
def test_neither_the_batch_size_nor_other_rows_matter(model: TrainedModel, draw: bool) -> None:
    exact = accepting_missing(model.double())
    batch = exact.prepare(with_gaps(23))
    rows, imputation = torch.arange(23), Imputation(5, draw, seed=7)

    def filled(size: int) -> torch.Tensor:
        return torch.cat([impute_batch(exact, batch.rows(part), part, imputation).x for part in rows.split(size)])

    expected = filled(23)
    for size in (1, 2, 7, 10):
        assert torch.allclose(filled(size), expected, rtol=0, atol=1e-6)
    assert torch.equal(filled(23), expected)
    other = impute_batch(exact, batch, rows, replace(imputation, seed=8)).x
    assert torch.equal(other, expected) is not draw


def test_conditions_and_extras_are_kept(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = save(condition=2)
    seen: list[tuple[Batch, torch.Tensor]] = []
    original = type(model.model).decode

    def decode(self: Any, z: torch.Tensor, *args: Any, condition: torch.Tensor, like: Batch, draw: bool) -> Any:
        seen.append((like, condition))
        return original(self, z, *args, condition=condition, like=like, draw=draw)

    monkeypatch.setattr(type(model.model), "decode", decode)
    x = torch.randn(9, 30)
    mask = torch.ones(9, 30, dtype=torch.bool)
    mask[[1, 4, 8], 3] = False
    condition = torch.arange(18.0).reshape(9, 2)
    batch = Batch(x, mask=mask, condition=condition, extras={"library": torch.arange(9)})
    result = impute_batch(accepting_missing(model), batch, torch.arange(9), Imputation(2))
    assert torch.equal(result.missing, ~mask)
    assert torch.equal(result.x[mask], x[mask])
    assert len(seen) == 2
    for like, used in seen:
        assert torch.equal(used.unique(dim=0), condition[[1, 4, 8]])
        assert like.extras["library"].unique().tolist() == [1, 4, 8]
    other = impute_batch(model, batch, torch.arange(9), Imputation(2), condition=condition + 1)
    assert not torch.equal(other.x[~mask], result.x[~mask])


def test_modalities_without_missing_values_or_columns(model: TrainedModel) -> None:
    modality, x = model.modality, torch.zeros(2, 5)
    with pytest.raises(AeframeError, match="modality Vector has no elements to fill"):
        Modality.missing_elements(modality, Batch(x))
    with pytest.raises(AeframeError, match="modality Vector has no columns with names, found the comparison 'a<1'"):
        modality.select(torch.zeros(2, 5, 3), [Where("a", "<", "1")])
    filled = Modality.filled(modality, Batch(x, mask=torch.eye(2, 5).bool()), torch.ones(2, 5))
    assert filled.mask is not None
    assert filled.mask.all()
    assert torch.equal(filled.x, 1 - torch.eye(2, 5))


def test_bad_arguments_are_refused(model: TrainedModel) -> None:
    with pytest.raises(AeframeError, match="imputation needs at least 1 iteration, found 0"):
        impute(model, with_gaps(), iterations=0)
    with pytest.raises(AeframeError, match="takes a batch_size of at least 1, found 0"):
        impute(model, with_gaps(), batch_size=0)
    with pytest.raises(AeframeError, match="'x' has no column 'c'"):
        impute(model, with_gaps().drop(columns="c"))
