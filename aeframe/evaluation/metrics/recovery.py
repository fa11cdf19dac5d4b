"""Whether the dimensions of the code are the features that generated simulated data."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import SUM_DTYPE
from aeframe.evaluation.metrics.subset import SubsetMetric
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import TRUE_CODE, ForwardOutput


class MeanCorrelationCoefficient(SubsetMetric):
    """Measure ``mcc``, the mean correlation coefficient of the true code and the code (Hyvärinen & Morioka 2016, arXiv
    1605.06336), from 0 to 1.

    Each true feature is matched with one dimension of the code (the posterior mean), so that the sum of the absolute
    Pearson correlations over samples is as large as possible; the metric is their mean. A true feature without a
    partner, in a code of fewer dimensions, counts as 0. True features that are constant in the samples are left out.

    The true code is ``Batch.extras["true_code"]``, as of the dataset ``sparse_features``; nothing is returned for data
    without it. Codes of random networks correlate with it too, so compare with a model before training.

    Args:
        samples: Maximum number of samples, a random subset of the evaluated split.
        seed: Seed of the subset.
    """

    def __init__(self, *, samples: int = 10_000, seed: int = 0) -> None:
        if samples < 2:
            raise AeframeError(f"metric mcc takes samples of at least 2, found {samples}")
        super().__init__(samples, seed, "codes", "true")
        self.seed = seed
        self._num_samples = self._num_features = 0

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        true = out.batch.extras.get(TRUE_CODE)
        if true is not None:
            self.store(out.batch, codes=out.latent.mean.flatten(1).float(), true=true.flatten(1).float())

    def compute(self) -> dict[str, Tensor]:
        from scipy.optimize import linear_sum_assignment

        self._num_samples = self._num_features = 0
        if len(self.keys) == 0:
            return {}
        stored = self.stored()
        codes, true = (_standardized(stored[name].cpu().numpy()) for name in ("codes", "true"))
        true = true[:, true.any(0)]
        self._num_samples, self._num_features = true.shape
        if not self._num_features:
            return {}
        correlation = np.abs(true.T @ codes) / len(codes)
        matched = correlation[linear_sum_assignment(correlation, maximize=True)]
        return {"mcc": torch.tensor(matched.sum() / self._num_features, dtype=SUM_DTYPE)}

    def protocol(self) -> str:
        if not self._num_features:
            return "not measured: the samples have no true code that varies"
        return f"{self._num_samples} samples, {self._num_features} true features, seed {self.seed}"


def _standardized(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return columns ``(N, D)`` with mean 0 and standard deviation 1; constant ones are 0."""
    is_varied = (values != values[0]).any(0)
    centred = values - values.mean(0, dtype=np.float64)
    return np.where(is_varied, centred / np.where(is_varied, centred.std(0), 1), 0.0)
