"""How well labels can be read off the codes: linear probe, nearest neighbours and clusters, beside simpler features."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import SUM_DTYPE
from aeframe.evaluation.metrics.subset import SubsetMetric
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import SUBSET, noise_of
from aeframe.types import ForwardOutput

_FOLDS = 5
_MAX_RAW = 20_000
"""Samples with more elements are not compared as they are."""


class Probe(SubsetMetric):
    """Compare codes (posterior means) with the labels of the samples.

    ``probe_accuracy`` is the accuracy of a logistic regression on the standardised code (a linear probe: Alain & Bengio
    2017, arXiv 1610.01644), and ``knn_accuracy`` that of the `neighbours` nearest samples, both by 5-fold stratified
    cross-validation on a random subset of the evaluated split. ``kmeans_ari`` and ``kmeans_nmi`` are the adjusted Rand
    index (Hubert & Arabie 1985) and the normalised mutual information of the labels and a k-means clustering with as
    many clusters as labels.

    The same numbers with a prefix are for comparison: ``raw_`` for the samples themselves, ``pca_`` for as many
    principal components as the code has numbers, ``random_`` for the code of the same model before training.

    Samples without a label are left out, and labels with fewer than 5 samples. Nothing is returned for data without
    labels. Codes of categories are no numbers, so raw samples and components are left out there.

    Args:
        model: The model that is evaluated.
        samples: Maximum number of samples, a random subset.
        neighbours: Number of nearest samples that vote.
        seed: Seed of the subset, the folds, k-means and the weights before training.
    """

    def __init__(self, model: Autoencoder, *, samples: int = 2000, neighbours: int = 5, seed: int = 0) -> None:
        if samples < 2 * _FOLDS or neighbours < 1:
            raise AeframeError(
                f"metric probe takes samples of at least {2 * _FOLDS} and neighbours of at least 1, found {samples} "
                f"and {neighbours}"
            )
        self._has_raw = not model.spec.domain.has_classes and int(np.prod(model.spec.shape)) <= _MAX_RAW
        super().__init__(samples, seed, "codes", "random", "labels", *["x"] * self._has_raw)
        self.neighbours, self.seed = neighbours, seed
        self._num_labelled = 0
        # In a list, so that it is no submodule of the metric.
        self._untrained: list[Autoencoder] = []

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        batch = out.batch
        label = batch.extras.get("label")
        if label is None or label.ndim != 1 or label.is_floating_point():
            return
        if not self._untrained:
            self._untrained.append(_untrained(model, self.seed))
        untrained = self._untrained[0].to(batch.x.device)
        self.store(
            batch,
            codes=out.latent.mean.flatten(1).float(),
            random=untrained.embed(batch).mean.flatten(1).float(),
            labels=label.long(),
            **({"x": batch.masked_x().flatten(1).float()} if self._has_raw else {}),
        )

    def compute(self) -> dict[str, Tensor]:
        self._num_labelled = 0
        if len(self.keys) == 0:
            return {}
        stored = {name: value.cpu().numpy() for name, value in self.stored().items()}
        labels = stored["labels"]
        values, counts = np.unique(labels[labels >= 0], return_counts=True)
        is_used = np.isin(labels, values[counts >= _FOLDS])
        if len(np.unique(labels[is_used])) < 2:
            return {}
        labels, codes = labels[is_used], stored["codes"][is_used]
        self._num_labelled = len(labels)
        features = {"": codes, "random_": stored["random"][is_used]}
        if self._has_raw:
            features["raw_"] = stored["x"][is_used]
            features["pca_"] = self._components(features["raw_"], codes.shape[1])
        return {
            f"{prefix}{name}": torch.tensor(value, dtype=SUM_DTYPE)
            for prefix, points in features.items()
            for name, value in self._measures(points, labels).items()
        }

    def protocol(self) -> str:
        if not self._num_labelled:
            return f"not measured: the samples have no two labels of at least {_FOLDS} samples each"
        return f"{self._num_labelled} samples with a label, {_FOLDS}-fold cross-validation, seed {self.seed}"

    def reset(self) -> None:
        """Remove all stored samples, and the weights before training."""
        super().reset()
        self._untrained.clear()

    def _components(self, x: NDArray[Any], num: int) -> NDArray[Any]:
        from sklearn.decomposition import PCA

        return PCA(min(num, *x.shape), svd_solver="randomized", random_state=self.seed).fit_transform(x)

    def _measures(self, points: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
        from sklearn.model_selection import StratifiedKFold, cross_val_score
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=self.seed)
        smallest_training = len(labels) - -(-len(labels) // _FOLDS)
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        nearest = KNeighborsClassifier(min(self.neighbours, smallest_training))
        with warnings.catch_warnings():
            # A collapsed code has identical points, which low accuracies already show.
            warnings.simplefilter("ignore", ConvergenceWarning)
            clusters = KMeans(len(np.unique(labels)), n_init=10, random_state=self.seed).fit_predict(points)
            return {
                "probe_accuracy": float(cross_val_score(probe, points, labels, cv=folds).mean()),
                "knn_accuracy": float(cross_val_score(nearest, points, labels, cv=folds).mean()),
                "kmeans_ari": float(adjusted_rand_score(labels, clusters)),
                "kmeans_nmi": float(normalized_mutual_info_score(labels, clusters)),
            }


def _untrained(model: Autoencoder, seed: int) -> Autoencoder:
    """Return a copy of a model with new initial weights, in evaluation mode."""
    untrained = copy.deepcopy(model)
    with noise_of(torch.device("cpu"), seed, SUBSET):
        untrained.cpu()
        for module in untrained.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return untrained.eval()
