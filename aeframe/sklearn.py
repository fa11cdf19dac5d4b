"""Autoencoders as estimators of scikit-learn: `AutoencoderTransformer` and `AutoencoderOutlierDetector`.

They train with `aeframe.fit`, and work in a ``Pipeline``, in ``GridSearchCV`` and with ``clone``.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

_METHODS = ("mahalanobis", "reconstruction", "bound")
_MIN_TRAINING = 4
"""Below this number of remaining training samples none is held out: the best weights are then those of all samples."""


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: parameters, training, and validation of X."""

    def __init__(
        self,
        model: str = "ae",
        *,
        n_components: int | None = None,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        settings: Mapping[str, Any] | None = None,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.n_components = n_components
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.settings = settings
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def _train(self, X: ArrayLike) -> NDArray[Any]:
        """Train the model, set the fitted attributes, and return the validated X ``(N, D)``."""
        # Importing Lightning takes seconds.
        from aeframe.experiment.api import fit

        x = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        order = random.permutation(len(x))
        num_held_out = math.ceil(self.validation_fraction * len(x))
        if len(x) - num_held_out < _MIN_TRAINING:
            train, held_out = x, x
        else:
            train, held_out = x[np.sort(order[num_held_out:])], x[np.sort(order[:num_held_out])]
        settings = dict(self.settings or {})
        if self.n_components is not None:
            latent = settings.get("latent") or {}
            named = {"name": latent} if isinstance(latent, str) else latent
            settings["latent"] = {**named, "dim": self.n_components}
        # The folder of the run is not kept: the estimator holds the model, and can be pickled.
        with tempfile.TemporaryDirectory(prefix="aeframe-") as folder:
            run = fit(
                train,
                validation=held_out,
                test=held_out,
                **{
                    "model": self.model,
                    "max_epochs": self.max_epochs,
                    "batch_size": self.batch_size,
                    "seed": seed,
                    "folder": str(Path(folder) / "run"),
                    "pictures": False,
                    "verbose": self.verbose,
                    **settings,
                },
            )
        # In double precision, so that results do not depend on the other samples of a batch.
        self.model_ = run.model.double()
        self.metrics_ = run.metrics
        self.n_iter_ = int(run.model.progress.epoch)
        return np.asarray(x)

    def _prepared(self, X: ArrayLike) -> tuple[NDArray[Any], Any]:
        """Return the validated X, and the batch that the model receives."""
        check_is_fitted(self, "model_")
        x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return x, self.model_.prepare(x)

    def _bound(self, X: ArrayLike) -> NDArray[Any]:
        """Return the negative score of `aeframe.TrainedModel.score` ``(N,)``; higher is more likely."""
        x, batch = self._prepared(X)
        return np.asarray(-self.model_.score(batch).numpy(), x.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Estimator):  # type: ignore[misc]
    """Codes of an autoencoder as features.

    Args:
        model: The recipe, such as ``ae``, ``vae`` or ``vqvae``.
        n_components: Numbers of the code (``latent.dim``); None for the default of the recipe.
        max_epochs: Training epochs; None chooses them by the number of samples.
        batch_size: Samples in a batch; None chooses it by the number of samples.
        settings: Further settings of `aeframe.fit`: ``{"encoder": {"hidden": [64]}, "optimizer": {"lr": 1e-3}}``.
        validation_fraction: Fraction of the samples that is held out to select the best weights.
        random_state: Seed of the weights, of the order of samples and of the split; None draws one.
        verbose: Print the settings and the metrics of the run.

    Attributes:
        model_: The `aeframe.TrainedModel`.
        metrics_: Metrics of the held-out samples by name.
        n_iter_: Number of training epochs.
    """

    def fit(self, X: ArrayLike, y: Any = None) -> AutoencoderTransformer:
        """Train on X ``(N, D)``, N at least 2; y is ignored."""
        self._train(X)
        self._n_features_out = math.prod(self.model_.model.latent.shape)
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the codes ``(N, n_components)``, flattened; the means of the posterior where there is one."""
        x, batch = self._prepared(X)
        return np.asarray(self.model_.encode(batch).flatten(1).numpy(), x.dtype)

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the samples ``(N, D)`` that the codes X ``(N, n_components)`` decode to, in the unit of training."""
        check_is_fitted(self, "model_")
        codes = np.asarray(X, dtype=np.float64).reshape(-1, *self.model_.model.latent.shape)
        return np.asarray(self.model_.restore(self.model_.decode(codes)))

    def score_samples(self, X: ArrayLike) -> NDArray[Any]:
        """Return the bound on the log-likelihood ``(N,)``, see `aeframe.TrainedModel.score`; higher is more likely."""
        return self._bound(X)

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Return the mean of `score_samples`, which ``GridSearchCV`` maximises."""
        return float(self._bound(X).mean())

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> NDArray[Any]:
        """Return new samples ``(n_samples, D)`` in the unit of training."""
        check_is_fitted(self, "model_")
        if int(n_samples) < 1:
            raise ValueError(f"n_samples expects an integer of at least 1, found {n_samples!r}; correct it")
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return np.asarray(self.model_.restore(self.model_.sample(int(n_samples), seed=seed)))


class AutoencoderOutlierDetector(OutlierMixin, _Estimator):  # type: ignore[misc]
    """Outliers are samples that an autoencoder reconstructs badly, or unlike the training samples.

    Args:
        model: The recipe, such as ``ae`` or ``vae``.
        n_components: Numbers of the code (``latent.dim``); None for the default of the recipe.
        contamination: Fraction of outliers in the training data, which sets the threshold; in (0, 0.5].
        method: The score of a sample, see `aeframe.TrainedModel.anomalies`. ``mahalanobis`` is the squared distance of
            its reconstruction and residual from those of the training samples, and also finds outliers that are so
            frequent that the model reconstructs them; ``reconstruction`` is the reconstruction loss per column;
            ``bound`` the bound on its likelihood.
        per: ``sample`` or ``element``, see `aeframe.TrainedModel.with_scale`; None for the default of the method.
        draws: Number of draws of the code whose bounds are averaged, for ``bound``.
        max_epochs: Training epochs; None chooses them by the number of samples.
        batch_size: Samples in a batch; None chooses it by the number of samples.
        settings: Further settings of `aeframe.fit`.
        validation_fraction: Fraction of the samples that is held out to select the best weights.
        random_state: Seed of the weights, of the order of samples and of the split; None draws one.
        verbose: Print the settings and the metrics of the run.

    Attributes:
        model_: The `aeframe.TrainedModel`.
        metrics_: Metrics of the held-out samples by name.
        offset_: Threshold of `score_samples` below which a sample is an outlier.
        n_iter_: Number of training epochs.
    """

    def __init__(
        self,
        model: str = "ae",
        *,
        n_components: int | None = None,
        contamination: float = 0.1,
        method: Literal["mahalanobis", "reconstruction", "bound"] = "mahalanobis",
        per: Literal["sample", "element"] | None = None,
        draws: int = 1,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        settings: Mapping[str, Any] | None = None,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            model,
            n_components=n_components,
            max_epochs=max_epochs,
            batch_size=batch_size,
            settings=settings,
            validation_fraction=validation_fraction,
            random_state=random_state,
            verbose=verbose,
        )
        self.contamination = contamination
        self.method = method
        self.per = per
        self.draws = draws

    def fit(self, X: ArrayLike, y: Any = None) -> AutoencoderOutlierDetector:
        """Train on X ``(N, D)``, and set the threshold; y is ignored."""
        if not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination expects a number in (0, 0.5], found {self.contamination!r}; correct it")
        if self.method not in _METHODS:
            raise ValueError(f"method expects one of {', '.join(_METHODS)}, found {self.method!r}; choose one")
        from aeframe.data import TensorSource

        x = self._train(X)
        source = TensorSource(self.model_.prepare(x).x)
        self.model_ = self.model_.with_scale(self.method, source, source, per=self.per, draws=self.draws)
        self.offset_ = float(np.percentile(self._scores(x), 100 * self.contamination))
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[Any]:
        """Return the score ``(N,)`` of each sample; lower is more abnormal."""
        return self._scores(X)

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Return `score_samples` minus the threshold ``(N,)``; outliers are negative."""
        return self._scores(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return -1 for outliers and 1 for inliers, ``(N,)``."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _scores(self, X: ArrayLike) -> NDArray[Any]:
        x, batch = self._prepared(X)
        return np.asarray(-self.model_.anomalies(batch, by=self.method, locate=False).score.numpy(), x.dtype)
