"""The coding of numbers, compared with scikit-learn, closed forms and cases worked by hand."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.mixture import BayesianGaussianMixture
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from aeframe.testing.fixtures import real_file
from aeframe_tabular.coding import CodingOptions
from aeframe_tabular.coding.mixture import MixtureScale
from aeframe_tabular.coding.numbers import NumberCoding
from aeframe_tabular.coding.options import NUMBER_CODINGS, NumberCodingName
from aeframe_tabular.coding.scales import QuantileScale, StandardScale
from aeframe_tabular.column import Column

ZERO = np.zeros(1, dtype=np.int64)


def two_modes(number: int = 3000) -> np.ndarray[Any, np.dtype[np.float64]]:
    generator = np.random.default_rng(0)
    return np.where(
        generator.random(number) < 0.3, generator.normal(-50, 2, number), generator.normal(1000, 30, number)
    )


def number_coding(values: Any, numbers: NumberCodingName = "standard", **column: Any) -> NumberCoding:
    kind = column.pop("kind", "number")
    coding = NumberCoding(Column("v", kind, **column), 0, CodingOptions(numbers=numbers))
    coding.learn(pd.Series(values, dtype=float))
    return coding


def test_standard_is_that_of_scikit_learn() -> None:
    values = np.random.default_rng(0).lognormal(3, 2, 500)
    scale = StandardScale()
    scale.learn(values)
    expected = StandardScaler().fit_transform(values[:, None])[:, 0]
    np.testing.assert_allclose(scale.encode(values)[0], expected, rtol=1e-10)


@pytest.mark.parametrize("values", [[], [7.0, 7.0, 7.0], [0.1] * 3, [1e200, -1e200], [1e-310, 2e-310]])
def test_standard_of_degenerate_numbers(values: list[float]) -> None:
    scale = StandardScale()
    scale.learn(np.array(values))
    real, _ = scale.encode(np.array(values))
    assert np.isfinite(real).all()
    np.testing.assert_allclose(scale.decode(real, ZERO), values, rtol=1e-12)
    if len(set(values)) == 1:
        np.testing.assert_array_equal(real, 0.0)


def test_quantile_is_that_of_scikit_learn_between_the_outer_quantiles() -> None:
    generator = np.random.default_rng(0)
    values = np.round(generator.gamma(0.7, 50, 4000), 1)
    values[:600] = 40.0  # ties
    scale = QuantileScale(100)
    scale.learn(values)
    transformer = QuantileTransformer(n_quantiles=100, output_distribution="normal", subsample=None)
    expected = transformer.fit_transform(values[:, None])[:, 0]
    inner = (values >= transformer.quantiles_[1, 0]) & (values <= transformer.quantiles_[-2, 0])
    assert 3800 < inner.sum() < 4000
    np.testing.assert_allclose(scale.encode(values)[0][inner], expected[inner], rtol=1e-9, atol=1e-9)
    real = norm.ppf(np.linspace(0.02, 0.98, 50))
    np.testing.assert_allclose(scale.decode(real, ZERO), transformer.inverse_transform(real[:, None])[:, 0], rtol=1e-9)


def test_quantile_gives_the_ends_the_probability_of_half_a_row() -> None:
    scale = QuantileScale(1000)
    scale.learn(np.arange(11.0))
    real, _ = scale.encode(np.array([0.0, 5.0, 10.0, -3.0, 99.0]))
    end = norm.ppf(0.5 / 11)
    np.testing.assert_allclose(real, [end, 0.0, -end, end, -end], atol=1e-12)
    np.testing.assert_allclose(scale.decode(np.array([-9.0, end, 0.0, 9.0]), ZERO), [0, 0, 5, 10], atol=1e-12)


def test_quantile_decodes_the_interval_of_a_frequent_number_to_it() -> None:
    scale = QuantileScale(1000)
    scale.learn(np.concatenate([np.zeros(50), np.arange(1.0, 51.0)]))
    real, _ = scale.encode(np.zeros(1))
    np.testing.assert_allclose(norm.cdf(real), 0.25, atol=0.01)
    np.testing.assert_array_equal(scale.decode(norm.ppf(np.array([0.001, 0.2, 0.4, 0.49])), ZERO), 0.0)


def test_quantile_is_monotone() -> None:
    scale, values = QuantileScale(50), np.random.default_rng(1).standard_cauchy(2000)
    scale.learn(values)
    real, _ = scale.encode(np.sort(values))
    assert (np.diff(real) > 0).all()
    np.testing.assert_allclose(scale.decode(real, ZERO), np.sort(values), rtol=1e-6)


def test_mixture_codes_by_the_most_probable_mode() -> None:
    values, scale = two_modes(), MixtureScale(10)
    scale.learn(values)
    state = scale.state()
    weights, means, deviations = (np.array(state[key]) for key in ("weights", "means", "deviations"))
    assert (np.diff(means) > 0).all()
    densities = weights * norm.pdf(values[:, None], means, deviations)
    real, mode = scale.encode(values)
    assert mode is not None
    np.testing.assert_array_equal(mode, densities.argmax(axis=1))
    np.testing.assert_allclose(real, (values - means[mode]) / (4 * deviations[mode]), rtol=1e-12)
    np.testing.assert_allclose(scale.decode(real, mode), values, rtol=1e-12)
    # Each of the two groups has modes of its own.
    assert set(mode[values < 500]).isdisjoint(mode[values > 500])


def test_mixture_is_that_of_scikit_learn() -> None:
    values, scale = two_modes(), MixtureScale(2)
    scale.learn(values)
    first, third = np.quantile(values, (0.25, 0.75))
    normalized = (np.sort(values)[:, None] - np.median(values)) / (third - first)
    mixture = BayesianGaussianMixture(
        n_components=2,
        weight_concentration_prior=0.001,
        mean_prior=[0.0],
        mean_precision_prior=1e-3,
        covariance_prior=[[0.01 * normalized.var()]],
        tol=0.3,
        random_state=0,
    )
    labels = mixture.fit_predict(normalized)
    _, mode = scale.encode(np.sort(values))
    assert mode is not None
    lower = labels[0]  # scikit-learn does not order the modes
    np.testing.assert_array_equal(mode == 0, labels == lower)
    means = np.sort(mixture.means_[:, 0]) * (third - first) + np.median(values)
    np.testing.assert_allclose(scale.state()["means"], means, rtol=1e-6)
    np.testing.assert_allclose(scale.state()["means"], [-50, 1000], atol=3)
    np.testing.assert_allclose(scale.state()["deviations"], [2, 30], rtol=0.5)


def test_mixture_modes_on_census_data_are_those_of_scikit_learn() -> None:
    values = pd.read_csv(real_file("tables/adult.csv"))["fnlwgt"].to_numpy(float)
    scale = MixtureScale(10)
    scale.learn(values)
    state = scale.state()
    mixture = BayesianGaussianMixture(n_components=len(state["means"]), covariance_type="diag", max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixture.fit(values[:500, None])
    # Parameters of the scale in the estimator, with so many observations that the posterior of the parameters is sharp.
    total = 1e6
    counts = np.array(state["weights"]) / np.sum(state["weights"]) * total
    mixture.means_ = np.array(state["means"])[:, None]
    mixture.covariances_ = np.square(state["deviations"])[:, None]
    mixture.precisions_cholesky_ = 1 / np.sqrt(mixture.covariances_)
    mixture.mean_precision_ = mixture.degrees_of_freedom_ = counts
    rest = total - np.cumsum(counts)
    mixture.weight_concentration_ = (1 + counts, 1e-3 + np.maximum(rest, 0))
    _, mode = scale.encode(values)
    assert mode is not None
    assert np.mean(mode == mixture.predict(values[:, None])) > 0.999


def test_mixture_does_not_depend_on_the_order_of_rows() -> None:
    values, one, other = two_modes(20_000), MixtureScale(5), MixtureScale(5)
    one.learn(values)
    other.learn(values[::-1].copy())
    assert one.state()["means"] == other.state()["means"]
    assert one.state()["deviations"] == other.state()["deviations"]


def test_mixture_keeps_outliers() -> None:
    values = np.append(two_modes(), [1e7, -3e8])
    coding = number_coding(values, "mixture")
    x, _ = coding.encode(pd.Series(values))
    np.testing.assert_allclose(coding.decode(x), values, rtol=1e-6)
    assert np.abs(x[:, 0]).max() < 2
    # Two outliers do not squeeze the others into one mode.
    assert set(x[np.abs(values) < 100, 1]).isdisjoint(x[(values > 500) & (values < 2000), 1])


@pytest.mark.parametrize("sample", ["lognormal", "cauchy"])
def test_mixture_codes_of_heavy_tails_are_within_a_few_units(sample: str) -> None:
    generator = np.random.default_rng(0)
    values = generator.lognormal(0, 2, 20_000) if sample == "lognormal" else generator.standard_cauchy(20_000)
    scale = MixtureScale(10)
    scale.learn(values)
    real, _ = scale.encode(values)
    assert np.abs(real).max() < 5
    # In units of the standard deviation the highest is far away.
    assert (values.max() - values.mean()) / values.std() > 30


def test_mixture_of_quartiles_that_are_all_but_equal() -> None:
    values = np.array([0.0] * 9 + [-1.0] * 3 + [-2e-250])
    coding = number_coding(values, "mixture")
    np.testing.assert_allclose(coding.decode(coding.encode(pd.Series(values))[0]), values, atol=1e-7)


def test_an_unused_mode_is_decoded_by_all_numbers() -> None:
    coding = number_coding([1.0] * 50 + [3.0] * 50, "mixture")
    assert len(coding.state()["means"]) == 2
    # Mean 2 and deviation 1 of all: 2 + 4 * 1 * 0.25.
    assert coding.decode(np.array([[0.25, 9.0]], dtype=np.float32)).tolist() == pytest.approx([3.0])


@pytest.mark.parametrize("numbers", NUMBER_CODINGS)
def test_spike_and_missing_cells_are_classes(numbers: NumberCodingName) -> None:
    values = pd.Series([0.0, 5.0, np.nan, 7.0, 0.0])
    coding = number_coding(values, numbers, spike=0.0, num_missing=1, low=0.0, high=7.0)
    modes = 10 if numbers == "mixture" else 1
    assert coding.elements[1].classes == modes + 2
    x, mask = coding.encode(values)
    np.testing.assert_array_equal(mask, [[False, True], [True, True], [False, True], [True, True], [False, True]])
    np.testing.assert_array_equal(x[[0, 2, 4]], [[0, modes], [0, modes + 1], [0, modes]])
    assert (x[[1, 3], 1] < modes).all()
    np.testing.assert_allclose(coding.decode(x), values, rtol=1e-6)
    # The spike and missing cells are exact whatever the real element is.
    np.testing.assert_array_equal(coding.decode(np.array([[9, modes], [-9, modes + 1]], np.float32)), [0.0, np.nan])


def test_the_spike_is_no_part_of_the_estimate() -> None:
    coding = number_coding([0.0] * 90 + [10.0, 20.0], spike=0.0)
    assert coding.state() == {"mean": 15.0, "deviation": 5.0}


def test_class_numbers_are_rounded_to_the_nearest_class() -> None:
    coding = number_coding([0.0, 1.0, 3.0, np.nan], spike=0.0, num_missing=1)
    x = np.array([[0, 0.4], [0, 0.6], [0, -3], [0, 1.7], [0, 50]], np.float32)
    np.testing.assert_array_equal(coding.decode(x), [2.0, 0.0, 2.0, np.nan, np.nan])


@pytest.mark.parametrize("numbers", NUMBER_CODINGS)
def test_a_missing_cell_without_a_class_is_masked(numbers: NumberCodingName) -> None:
    coding = number_coding([1.0, 2.0, 4.0], numbers)
    x, mask = coding.encode(pd.Series([np.nan, 2.0]))
    assert not mask[0].any()
    assert mask[1].all()
    assert (x[0] == 0).all()


def test_nan_is_decoded_to_a_missing_cell() -> None:
    coding = number_coding([1.0, 2.0, 4.0], "mixture")
    x = np.array([[np.nan, 0], [0, np.nan]], np.float32)
    assert coding.decode(x).isna().all()


def test_integers_are_whole_and_within_the_range() -> None:
    coding = number_coding([1.0, 2.0, 9.0], kind="integer", low=1.0, high=9.0)
    decoded = coding.decode(np.array([[-9], [0.03], [0.2], [99]], np.float32))
    # The mean is 4 and the deviation 3.56.
    assert decoded.tolist() == [1.0, 4.0, 5.0, 9.0]


def test_numbers_have_the_digits_of_the_column() -> None:
    coding = number_coding([-1.25, 0.5, 0.75], decimals=2)
    assert coding.decode(np.array([[0.0]], np.float32)).tolist() == [0.0]
    coding = number_coding([-1.0, 1.0], decimals=1)
    decoded = coding.decode(np.array([[-0.01], [0.26]], np.float32))
    assert decoded.tolist() == [0.0, 0.3]
    assert not np.signbit(decoded).any()


def test_digits_of_numbers_that_are_too_large_to_scale() -> None:
    coding = number_coding([1e300, 3e300], decimals=20)
    np.testing.assert_allclose(coding.decode(np.array([[0.0], [1.0]], np.float32)), [2e300, 3e300])


@pytest.mark.parametrize("numbers", NUMBER_CODINGS)
def test_numbers_far_from_the_training_split_are_finite(numbers: NumberCodingName) -> None:
    coding = number_coding([1.0, 2.0, 4.0], numbers)
    x, mask = coding.encode(pd.Series([1e300, -np.inf, np.inf]))
    assert np.isfinite(np.square(x)).all()
    assert mask.all()


def test_large_integers_that_differ_by_little_are_exact() -> None:
    values = pd.Series(2.0**52 + np.arange(1000.0))
    for numbers in NUMBER_CODINGS:
        coding = number_coding(values, numbers, kind="integer", low=values.min(), high=values.max())
        np.testing.assert_array_equal(coding.decode(coding.encode(values)[0]), values)
