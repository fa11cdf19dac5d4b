"""`MixtureScale`: mode-specific normalization of the numbers of a column."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

from aeframe_tabular.coding.scales import Classes, Floats, Scale, mean_and_deviation

SUBSAMPLE = 5_000
"""The most numbers from which the mixture is estimated."""


class MixtureScale(Scale):
    """Normalize each number by the component of a Gaussian mixture that it most probably comes from.

    Mode-specific normalization (Xu et al. 2019, section 4.2, https://arxiv.org/abs/1907.00503): a variational
    Gaussian mixture is estimated from the training split. A number c of mode k is encoded as
    ``(c - mean_k) / (4 deviation_k)``. Two points differ from the paper:

    - The mode is the most probable one, where the paper draws one: the same number has the same code each time.
    - Components of a low weight are kept if they are the most probable one of any row. Without them the extreme values
      of a heavy tail would be many deviations away from the nearest mode.

    Numbers outside of 4 deviations of their mode are not clipped: every number is decoded to itself, up to float32.

    Modes are in the order of their means. A mode without a component is not used by `encode`; `decode` maps it by mean
    and deviation of all numbers.
    """

    def __init__(self, modes: int) -> None:
        self.modes = modes
        self._weights = np.empty(0)
        self._means = np.empty(0)
        self._deviations = np.empty(0)
        self._all = (0.0, 1.0)

    def learn(self, values: Floats) -> None:
        self._all = mean_and_deviation(values)
        sample = _evenly_spaced(np.sort(values), SUBSAMPLE)
        center, unit = _center_and_unit(sample, self._all)
        number = min(self.modes, np.unique(sample).size)
        if number < 2:
            self._weights = np.ones(1)
            self._means, self._deviations = np.array([self._all[0]]), np.array([self._all[1]])
            return
        normalized = ((sample - center) / unit)[:, None]
        mixture = BayesianGaussianMixture(
            n_components=number,
            covariance_type="diag",  # of one number the same as the full one, and faster
            weight_concentration_prior_type="dirichlet_process",
            weight_concentration_prior=0.001,
            # By default, mean and variance of the data are worth one row. Extreme values determine them, and the
            # modes of small groups become as wide as the distance between the groups.
            mean_prior=np.zeros(1),
            mean_precision_prior=1e-3,
            covariance_prior=np.full(1, 1e-2 * min(float(normalized.var()), 1.0)),
            tol=1e-4 * sample.size,  # of the bound of all rows
            max_iter=100,
            random_state=0,
        )
        with warnings.catch_warnings():
            # 100 iterations are enough for a coding, and k-means may find fewer clusters than numbers.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(normalized)
        used = np.unique(mixture.predict(normalized))
        used = used[np.argsort(mixture.means_[used, 0], kind="stable")]
        self._weights = mixture.weights_[used]
        self._means = mixture.means_[used, 0] * unit + center
        self._deviations = np.sqrt(mixture.covariances_[used, 0]) * unit

    @property
    def is_learned(self) -> bool:
        return self._means.size > 0

    def encode(self, values: Floats) -> tuple[Floats, Classes | None]:
        mode = np.zeros(values.shape, dtype=np.int64)
        best = np.full(values.shape, -np.inf)
        constants = np.log(self._weights) - np.log(self._deviations)
        # One mode after another: a matrix of all modes would be `modes` times the memory of the column.
        with np.errstate(over="ignore"):
            for index, (constant, mean, deviation) in enumerate(
                zip(constants, self._means, self._deviations, strict=True)
            ):
                log_probability = (values - mean) / deviation
                log_probability *= log_probability
                log_probability *= -0.5
                log_probability += constant
                np.copyto(mode, index, where=log_probability > best)
                np.maximum(best, log_probability, out=best)
        real = (values - self._means[mode]) / (4.0 * self._deviations[mode])
        return real, mode if self.modes > 1 else None

    def decode(self, real: Floats, mode: Classes) -> Floats:
        centers, units = self.affine()
        return real * units[mode] + centers[mode]

    def affine(self) -> tuple[Floats, Floats]:
        unused = max(self.modes - self._means.size, 0)
        means = np.append(self._means, np.full(unused, self._all[0]))
        return means, 4.0 * np.append(self._deviations, np.full(unused, self._all[1]))

    def state(self) -> dict[str, Any]:
        return {
            "weights": self._weights.tolist(),
            "means": self._means.tolist(),
            "deviations": self._deviations.tolist(),
            "all": list(self._all),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._weights = np.asarray(state["weights"], dtype=np.float64)
        self._means = np.asarray(state["means"], dtype=np.float64)
        self._deviations = np.asarray(state["deviations"], dtype=np.float64)
        mean, deviation = state["all"]
        self._all = (float(mean), float(deviation))


def _evenly_spaced(ordered: Floats, number: int) -> Floats:
    """Return at most `number` of the ordered values, at evenly spaced ranks, with the lowest and the highest.

    Unlike a random sample, they have the quantiles of all values, and do not depend on the order of the rows.
    """
    if ordered.size <= number:
        return ordered
    return ordered[np.linspace(0, ordered.size - 1, number).round().astype(np.int64)]


def _center_and_unit(ordered: Floats, fallback: tuple[float, float]) -> tuple[float, float]:
    """Return median and interquartile range; the fallback if the range is 0 compared to that of all values.

    scikit-learn adds a constant to the variances. It is small compared to most values in units of the interquartile
    range, but not in units of a standard deviation which a few extreme values determine.
    """
    if ordered.size == 0:
        return fallback
    first, median, third = (float(value) for value in np.quantile(ordered, (0.25, 0.5, 0.75)))
    return (median, third - first) if third - first > 1e-9 * (ordered[-1] - ordered[0]) else fallback
