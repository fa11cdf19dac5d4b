"""Baselines: simple methods to compare a model with, which show whether its numbers are good for these data.

One is for every modality: the reconstruction error of principal component analysis (PCA) with as many numbers as the
code. The others are numbers of metrics, see `ModelMetric.baselines`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aeframe.data.modality import Source
from aeframe.evaluation.metrics.base import SUM_DTYPE, Baseline
from aeframe.evaluation.principal_directions import principal_directions
from aeframe.evaluation.units import metric_classes
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import FITTING, noise_of, random_rows

_MAX_SAMPLES, _MAX_UNREAD = 10_000, 2_000
"""Largest number of training samples that are read, in memory and from files."""
_MAX_VALUES = 1 << 25
"""Largest number of values that are read of each split."""
_MIN_SAMPLES = 2
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class PcaError:
    """How well PCA reconstructs held-out samples."""

    mse: float
    """Mean squared error per element, as the metric ``mse``."""
    num_components: int
    num_train: int
    """Number of training samples that the components were fitted to."""
    num_test: int
    """Number of held-out samples that were reconstructed."""

    def describe(self, mse: float | None = None) -> str:
        """Return the error in words, with its protocol, and whether that of the model, `mse`, is larger."""
        comparison = "" if mse is None or mse <= self.mse else f", less than that of the model ({mse:.4g})"
        return (
            f"PCA of {self.num_components} numbers, fitted to {self.num_train} training samples: mse {self.mse:.4g} on "
            f"{self.num_test} samples{comparison}"
        )


def baseline_metrics(error: PcaError | None) -> dict[str, float]:
    """Return the error as the metric ``mse_of_pca``; empty without one."""
    return {} if error is None else {"mse_of_pca": error.mse}


def better_baselines(values: Mapping[str, float], metrics: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Return a sentence on each baseline whose number is better than that of the model.

    Args:
        values: The measured numbers by name.
        metrics: The options of each metric by name, see `aeframe.evaluation.evaluator.metrics_of`.
    """
    baselines: dict[str, Baseline] = {}
    for metric in metric_classes(metrics).values():
        baselines |= getattr(metric, "baselines", {})
    sentences = []
    for name, baseline in baselines.items():
        if name not in values or baseline.metric not in values:
            continue
        simple, own = values[name], values[baseline.metric]
        if simple > own if baseline.higher_is_better else simple < own:
            sentences.append(
                f"{baseline.method} has a better {baseline.metric}, {simple:.4g}, than the model ({own:.4g})"
            )
    return sentences


def pca_error(model: Autoencoder, train: Source, held_out: Source, *, seed: int) -> PcaError | None:
    """Return the error of PCA with as many components as the model's code has numbers.

    PCA is the best linear autoencoder (Baldi & Hornik 1989, Neural Networks 2).

    Args:
        model: The model, whose code has a number of components.
        train: The training split; a random subset of it is read.
        held_out: The split that is reconstructed, or a random subset of it.
        seed: The seed of the subsets.

    Returns:
        The error. None where a comparison says nothing: for categories and counts, unordered elements, codes that are
        integers or sparse, codes with as many numbers as a sample or as there are training samples, and data with
        missing elements.
    """
    spec, num_components = model.spec, math.prod(model.latent.shape)
    num_elements = math.prod(spec.shape)
    is_comparable = (
        spec.domain.kind in ("real", "unit", "signed", "binary")
        and not model.latent.provides & {"codes", "sparse", "hierarchy"}
        and not spec.views
        and not spec.unordered
        and num_components < num_elements
    )
    if not is_comparable:
        return None
    x_train, x_test = (_rows(source, seed, num_elements) for source in (train, held_out))
    if x_train is None or x_test is None or len(x_train) <= num_components:
        return None
    directions = principal_directions(x_train, num_components, seed=seed)
    total = torch.zeros((), dtype=SUM_DTYPE)
    for chunk in (x_test - directions.mean).split(_CHUNK):
        # Pythagoras: components are orthonormal.
        error = chunk.square().sum(dtype=SUM_DTYPE) - (chunk @ directions.vectors.T).square().sum(dtype=SUM_DTYPE)
        total = total + error.clamp(min=0)
    return PcaError(float(total / x_test.numel()), len(directions.vectors), len(x_train), len(x_test))


def _rows(source: Source, seed: int, num_elements: int) -> Tensor | None:
    """Return random samples ``(n, elements)`` of a source; None if an element of one of them is missing."""
    limit = _MAX_SAMPLES if source.in_memory else _MAX_UNREAD
    parts = []
    with noise_of(torch.device("cpu"), seed, FITTING):
        num = max(_MIN_SAMPLES, min(limit, _MAX_VALUES // num_elements))
        for rows in random_rows(len(source), num, seed).split(_CHUNK):
            batch = source.batch(rows)
            if batch.mask is not None and not bool(batch.mask.all()):
                return None
            parts.append(batch.x.flatten(1).float())
    return torch.cat(parts)
