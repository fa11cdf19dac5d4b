"""`FactorMetric`: base class of metrics that compare codes with known factors of variation."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import SUM_DTYPE
from aeframe.evaluation.metrics.subset import SubsetMetric
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import FACTORS, ForwardOutput

_MIN_SAMPLES = 20
Codes = NDArray[np.float32]
Factors = NDArray[np.int64]


class FactorMetric(SubsetMetric):
    """A comparison of codes (posterior means) with the factors of variation in ``Batch.extras["factors"]``.

    Samples of which a factor is unknown are left out, and factors with a single value. Nothing is returned for data
    without factors.

    Args:
        name: The metric's registered name, for error messages.
        samples: Maximum number of samples, a random subset of the evaluated split.
        seed: Seed of the subset and of all other random draws.
        method: How the scores are computed, in words.
    """

    def __init__(self, name: str, samples: int, seed: int, method: str) -> None:
        if samples < _MIN_SAMPLES:
            raise AeframeError(f"metric {name} takes samples of at least {_MIN_SAMPLES}, found {samples}")
        super().__init__(samples, seed, "codes", "factors")
        self.seed, self.method = seed, method
        self._num_samples = self._num_factors = 0

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        factors = out.batch.extras.get(FACTORS)
        if factors is not None:
            self.store(out.batch, codes=out.latent.mean.flatten(1).float(), factors=factors.long())

    def compute(self) -> dict[str, Tensor]:
        codes, factors = self._known()
        self._num_samples, self._num_factors = factors.shape
        if len(codes) < _MIN_SAMPLES or not self._num_factors:
            return {}
        return {name: torch.tensor(value, dtype=SUM_DTYPE) for name, value in self.scores(codes, factors).items()}

    def protocol(self) -> str:
        if not self._num_samples:
            return "not measured: the samples have no known factors of variation"
        found = f"{self._num_samples} samples, {self._num_factors} factors"
        if self._num_samples < _MIN_SAMPLES or not self._num_factors:
            return f"not measured: found {found} that vary, expected at least {_MIN_SAMPLES} and 1"
        return f"{found}, {self.method}, seed {self.seed}"

    @abstractmethod
    def scores(self, codes: Codes, factors: Factors) -> dict[str, float]:
        """Return the scores by name, the same for any order of the dimensions of the code.

        Args:
            codes: ``(N, D)``.
            factors: ``(N, F)``; the V values of each factor are 0, ..., V - 1, and V is at least 2. The order of the
                samples is random.
        """

    def _known(self) -> tuple[Codes, Factors]:
        """Return `scores` arguments; ``F`` is 0 if no factor varies."""
        if len(self.keys) == 0:
            return np.zeros((0, 0), np.float32), np.zeros((0, 0), np.int64)
        stored = self.stored()
        codes, factors = stored["codes"].cpu().numpy(), stored["factors"].cpu().numpy()
        factors = factors[:, (factors >= 0).any(0)]
        is_known = (factors >= 0).all(1)
        codes, factors = codes[is_known], factors[is_known]
        values: list[NDArray[Any]] = [np.unique(column, return_inverse=True)[1] for column in factors.T]
        varied = [column for column in values if column.any()]
        return codes, np.stack(varied, 1) if varied else np.zeros((len(codes), 0), np.int64)
