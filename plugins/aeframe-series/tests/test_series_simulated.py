"""The embedded series against its own model, and the benchmark's windows against principal components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aeframe import AeframeError
from aeframe.testing.fixtures import real_file
from aeframe_series.ett import ETT
from aeframe_series.modality import Series
from aeframe_series.simulated import NOISE, SeriesSimulated, simulate


def flat(source: Any) -> NDArray[np.float64]:
    return source.batch(torch.arange(len(source))).x.flatten(1).double().numpy()


def principal(train: NDArray[np.float64], test: NDArray[np.float64], dim: int) -> float:
    """The squared error per element that `dim` principal components of `train` leave in `test`."""
    mean = train.mean(0)
    _, vectors = np.linalg.eigh(np.cov((train - mean).T))
    kept = vectors[:, -dim:]
    return float(np.square((test - mean) - (test - mean) @ kept @ kept.T).mean())


def test_windows_are_points_of_a_small_space_and_noise() -> None:
    data = SeriesSimulated(rows=6000, columns=3, waves=3, anomalies=0)
    splits = Series(window=32, scale="none").prepare(data)
    train, test = flat(splits.train), flat(splits.test)
    # Two dimensions for each wave: what they leave is the noise of the others.
    left = NOISE**2 * (1 - 6 / 96)
    assert principal(train, test, 6) == pytest.approx(left, rel=0.02)
    assert principal(train, test, 4) > 2 * left


def test_the_draw_is_that_of_its_seed() -> None:
    one, again, other = (simulate(rows=50, columns=2, waves=2, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.shape == (50, 2)


def test_anomalies_are_where_they_are_said_to_be() -> None:
    plain, with_some = (SeriesSimulated(rows=1000, anomalies=number).load() for number in (0, 4))
    assert plain.anomaly is None
    changed = (plain.rows.values != with_some.rows.values).any(1)
    assert with_some.anomaly is not None
    assert np.array_equal(changed, with_some.anomaly)
    # Two spikes, two shifts, all of them in the test split.
    assert int(changed.sum()) == 2 * 1 + 2 * 12
    assert with_some.splits is not None
    assert set(np.flatnonzero(changed).tolist()) <= set(with_some.splits["test"])


def test_values_go_missing_at_random() -> None:
    rows = SeriesSimulated(rows=4000, missing=0.1).load().rows
    assert np.isnan(rows.values).mean() == pytest.approx(0.1, abs=0.01)
    splits = Series(window=16, missing="mask").prepare(SeriesSimulated(rows=400, missing=0.1))
    mask = splits.train.batch(torch.arange(50)).mask
    assert mask is not None
    assert 0.05 < float((~mask).float().mean()) < 0.15


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(AeframeError) as caught:
        SeriesSimulated(waves=0)
    assert str(caught.value) == (
        "dataset 'series_simulated' needs rows, columns and waves of at least 1, anomalies of at least 0 and missing "
        "in [0, 1), found 3000, 3, 0, 8 and 0"
    )


# -- transformer temperatures ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ett_path() -> Path:
    return real_file("timeseries/ETTh1.csv.gz")


def test_principal_components_of_ett(ett_path: Path) -> None:
    # As in the benchmark, where the first test windows reach back by their own length.
    splits = Series(window=96, stride=4).prepare(ETT(path=str(ett_path), context=96))
    assert [len(source) for source in (splits.train, splits.validation, splits.test)] == [2137, 721, 721]
    train, test = flat(splits.train), flat(splits.test)
    for dim, expected in ((8, 0.4859), (16, 0.2132), (32, 0.1288)):
        assert principal(train, test, dim) == pytest.approx(expected, abs=5e-5), dim


def test_splits_of_ett_have_no_row_in_common(ett_path: Path) -> None:
    splits = Series(window=96, stride=4).prepare(ETT(path=str(ett_path)))
    rows = []
    for source in (splits.train, splits.validation, splits.test):
        index = source.batch(torch.arange(len(source))).index
        assert index is not None
        rows.append((int(index.min()), int(index.max()) + 96))
    assert rows == [(0, 8640), (8640, 11520), (11520, 14400)]
    assert principal(flat(splits.train), flat(splits.test), 16) == pytest.approx(0.2146, abs=5e-5)
