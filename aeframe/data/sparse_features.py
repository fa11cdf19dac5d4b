"""The dataset ``sparse_features``: simulated vectors that are sparse sums of known features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aeframe.data.modality import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.data.tables import Rows
from aeframe.data.tabular import RowSplits
from aeframe.errors import AeframeError
from aeframe.types import TRUE_CODE

_MAGNITUDES = (0.5, 1.5)


class SparseFeatures(Dataset):
    """Simulated vectors: sparse sums of more features than dimensions, to test what a sparse autoencoder recovers
    (Sharkey, Braun & Millidge 2022, "Taking features out of superposition with sparse autoencoders").

    Each feature is a random direction of length 1 (see `dictionary`). In each sample it is active with a probability
    of its own, and then has a magnitude of U(0.5, 1.5). ``extras["true_code"]`` ``(B, features)`` are the magnitudes, 0
    for inactive features, for the metric ``mcc``.

    Args:
        samples: Number of samples.
        features: Number of features.
        dim: Number of dimensions of a sample.
        active: Mean number of active features of a sample.
        decay: The probability of each feature relative to that of the one before it; 1 for equal probabilities.
        correlation: Correlation of the normal variables that decide which features are active, from 0 to below 1; with
            more of it, features are active together.
        noise: Standard deviation of the normal noise that is added to each dimension.
        validation: Fraction of the samples for validation.
        test: Fraction of the samples for testing.
        seed: Seed of the dictionary, the samples and the random splits.
    """

    modality: ClassVar[str] = "vector"

    def __init__(
        self,
        *,
        samples: int = 20_000,
        features: int = 64,
        dim: int = 32,
        active: float = 3.0,
        decay: float = 1.0,
        correlation: float = 0.0,
        noise: float = 0.02,
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
    ) -> None:
        who = "dataset 'sparse_features'"
        if min(features, dim) < 1 or not 0 < active < features:
            raise AeframeError(
                f"{who} requires features and dim of at least 1, and active above 0 and below features, found "
                f"features={features}, dim={dim} and active={active:g}"
            )
        if not (0 < decay <= 1 and 0 <= correlation < 1 and noise >= 0):
            raise AeframeError(
                f"{who} requires decay above 0 and at most 1, correlation from 0 to below 1 and noise of at least 0, "
                f"found decay={decay:g}, correlation={correlation:g} and noise={noise:g}"
            )
        self.samples, self.features, self.dim, self.seed = samples, features, dim, seed
        self.correlation, self.noise = correlation, noise
        frequency = decay ** np.arange(features)
        self.frequency = active * frequency / frequency.sum()
        """``(features,)``: the probability of each feature."""
        if self.frequency[0] > 1:
            raise AeframeError(
                f"{who}: with active={active:g} and decay={decay:g} the first feature has a probability of "
                f"{self.frequency[0]:.3g}, expected at most 1; lower active, or set decay closer to 1"
            )
        self.split = RandomSplit(who, "samples", validation=validation, test=test, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        return {"shape": (self.dim,), "columns": None}

    def load(self) -> RowSplits:
        rng = np.random.default_rng((self.seed, 1))
        code = self._code(rng)
        x = code @ self.dictionary() + self.noise * rng.standard_normal((self.samples, self.dim))
        rows = Rows(x.astype(np.float32), "sparse_features", extras={TRUE_CODE: code.astype(np.float32)})
        splits = self.split.complete({"train": rows}, self.split_record)
        return RowSplits(splits["train"], splits["validation"], splits["test"])

    def dictionary(self) -> NDArray[np.float64]:
        """Return the true features ``(features, dim)``: random directions of length 1."""
        directions = np.random.default_rng((self.seed, 0)).standard_normal((self.features, self.dim))
        return directions / np.linalg.norm(directions, axis=1, keepdims=True)

    def _code(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the magnitudes of the features of each sample ``(samples, features)``, 0 for inactive ones."""
        from scipy.special import ndtri

        shape = (self.samples, self.features)
        shared, own = rng.standard_normal((self.samples, 1)), rng.standard_normal(shape)
        normal = np.sqrt(self.correlation) * shared + np.sqrt(1 - self.correlation) * own
        return np.where(normal < ndtri(self.frequency), rng.uniform(*_MAGNITUDES, size=shape), 0.0)
