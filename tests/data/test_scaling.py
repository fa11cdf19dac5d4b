from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import aeframe.data.scaling
from aeframe.data.scaling import Scaler


def with_missing_values(rows: int = 57) -> np.ndarray:
    values = np.random.default_rng(0).normal(1e4, 3.0, (rows, 4)) * [1e-6, 1, 10, 1e5]
    values[::7, 1] = np.nan
    return values


@pytest.mark.parametrize("chunk", [1, 40, 1 << 20])
def test_standard_agrees_with_scikit_learn(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aeframe.data.scaling, "_CHUNK", chunk)
    values = with_missing_values()
    expected = StandardScaler().fit(values)
    scaler = Scaler.standard(values)
    np.testing.assert_allclose(scaler.offset, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(scaler.factor, expected.scale_, rtol=1e-9)
    np.testing.assert_allclose(scaler.apply(values), expected.transform(values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_minmax_agrees_with_scikit_learn(bounds: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aeframe.data.scaling, "_CHUNK", 40)
    values = with_missing_values()
    expected = MinMaxScaler(bounds).fit_transform(values)
    np.testing.assert_allclose(Scaler.minmax(values, *bounds).apply(values), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [57, 5000])
def test_constant_and_missing_columns_have_factor_1(rows: int) -> None:
    # The mean of many times 0.1 is not 0.1 in binary, so the computed deviation is not zero.
    values = np.stack([np.full(rows, 0.1), np.zeros(rows), np.full(rows, np.nan)], 1)
    standard, minmax = Scaler.standard(values), Scaler.minmax(values, -1, 1)
    assert standard.factor.tolist() == minmax.factor.tolist() == [1, 1, 1]
    np.testing.assert_allclose(standard.apply(values)[:, :2], 0, atol=1e-12)
    np.testing.assert_allclose(minmax.apply(values)[:, :2], -1)
    assert np.isfinite(standard.offset).all()
    assert np.isfinite(minmax.offset).all()


def test_bytes_of_any_shape_are_scaled_by_element() -> None:
    values = np.random.default_rng(1).integers(0, 256, (20, 3, 5), dtype=np.uint8)
    x = Scaler.standard(values).apply(values)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(0), np.zeros((3, 5)), atol=1e-6)
    np.testing.assert_allclose(x.std(0), np.ones((3, 5)), rtol=1e-5)


def test_undo_inverts_apply_after_a_round_trip_of_the_state() -> None:
    values = with_missing_values()
    scaler = Scaler.standard(values)
    again = Scaler.from_state(scaler.state())
    np.testing.assert_allclose(again.undo(scaler.apply(values)), values, rtol=1e-9)
