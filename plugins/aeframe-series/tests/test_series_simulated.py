"""The simulated series against its model, and the reconstruction errors of principal components on ETT."""

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


def flat_windows(source: Any) -> NDArray[np.float64]:
    return source.batch(torch.arange(len(source))).x.flatten(1).double().numpy()


def pca_error(train: NDArray[np.float64], test: NDArray[np.float64], dim: int) -> float:
    """Return the mean squared error of `test` reconstructed from `dim` principal components of `train`."""
    mean = train.mean(0)
    _, vectors = np.linalg.eigh(np.cov((train - mean).T))
    components = vectors[:, -dim:]
    return float(np.square((test - mean) - (test - mean) @ components @ components.T).mean())


def test_windows_lie_near_a_linear_subspace() -> None:
    data = SeriesSimulated(rows=6000, columns=3, waves=3, anomalies=0)
    splits = Series(window=32, scale="none").prepare(data)
    train, test = flat_windows(splits.train), flat_windows(splits.test)
    # Two dimensions per wave; the error is the noise in the remaining dimensions.
    noise = NOISE**2 * (1 - 6 / 96)
    assert pca_error(train, test, 6) == pytest.approx(noise, rel=0.02)
    assert pca_error(train, test, 4) > 2 * noise


def test_seed_determines_the_simulation() -> None:
    first, repeated, other = (simulate(rows=50, columns=2, waves=2, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, repeated)
    assert not np.array_equal(first, other)
    assert first.shape == (50, 2)


def test_flags_mark_the_anomalies() -> None:
    normal, anomalous = (SeriesSimulated(rows=1000, anomalies=number).load() for number in (0, 4))
    assert normal.anomaly is None
    changed = (normal.rows.values != anomalous.rows.values).any(1)
    assert anomalous.anomaly is not None
    assert np.array_equal(changed, anomalous.anomaly)
    # Two spikes and two shifts, all in the test split.
    assert int(changed.sum()) == 2 * 1 + 2 * 12
    assert anomalous.splits is not None
    assert set(np.flatnonzero(changed).tolist()) <= set(range(*anomalous.splits["test"][0]))


def test_missing_values() -> None:
    rows = SeriesSimulated(rows=4000, missing=0.1).load().rows
    assert np.isnan(rows.values).mean() == pytest.approx(0.1, abs=0.01)
    splits = Series(window=16, missing="mask").prepare(SeriesSimulated(rows=400, missing=0.1))
    mask = splits.train.batch(torch.arange(50)).mask
    assert mask is not None
    assert 0.05 < float((~mask).float().mean()) < 0.15


def test_invalid_sizes() -> None:
    with pytest.raises(AeframeError) as caught:
        SeriesSimulated(waves=0)
    assert str(caught.value) == (
        "dataset 'series_simulated' requires rows, columns and waves of at least 1, anomalies of at least 0 and "
        "missing in [0, 1), found 3000, 3, 0, 8 and 0"
    )


# -- transformer temperatures ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ett_path() -> Path:
    return real_file("timeseries/ETTh1.csv.gz")


def test_principal_components_of_ett(ett_path: Path) -> None:
    # The benchmark's splits, with one window of context.
    splits = Series(window=96, stride=4).prepare(ETT(path=str(ett_path), context=96))
    assert [len(source) for source in (splits.train, splits.validation, splits.test)] == [2137, 721, 721]
    train, test = flat_windows(splits.train), flat_windows(splits.test)
    for dim, expected in ((8, 0.4859), (16, 0.2132), (32, 0.1288)):
        assert pca_error(train, test, dim) == pytest.approx(expected, abs=5e-5), dim


def test_splits_of_ett_do_not_overlap(ett_path: Path) -> None:
    splits = Series(window=96, stride=4).prepare(ETT(path=str(ett_path)))
    rows = []
    for source in (splits.train, splits.validation, splits.test):
        index = source.batch(torch.arange(len(source))).index
        assert index is not None
        rows.append((int(index.min()), int(index.max()) + 96))
    assert rows == [(0, 8640), (8640, 11520), (11520, 14400)]
    assert pca_error(flat_windows(splits.train), flat_windows(splits.test), 16) == pytest.approx(0.2146, abs=5e-5)
