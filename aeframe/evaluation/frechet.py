"""The Fréchet distance between two sets of samples, from the moments of their features."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE


def squared_frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> Tensor:
    """Return the squared Fréchet distance between two normal distributions (Dowson & Landau 1982).

    ``|a - b|^2 + tr(A + B - 2 (A B)^(1/2))``. The trace of ``(A B)^(1/2)`` is computed as the sum of the square roots
    of the eigenvalues of ``A^(1/2) B A^(1/2)``, which is symmetric, so that all values are real.
    """
    values, vectors = torch.linalg.eigh(covariance_a)
    root_a = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    trace_of_root = torch.linalg.eigvalsh(root_a @ covariance_b @ root_a).clamp_min(0).sqrt().sum()
    mean_distance = (mean_a - mean_b).square().sum()
    # Rounding can make the distance of two equal distributions negative.
    return (mean_distance + covariance_a.trace() + covariance_b.trace() - 2 * trace_of_root).clamp_min(0)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the squared Fréchet distance between features ``(N, F)`` and ``(M, F)``, by their means and covariances.

    It is known as FID in the features of an Inception network (Heusel et al. 2017, arXiv 1706.08500). Covariances are
    unbiased and in double precision; N and M should be well above F.
    """
    return float(squared_frechet_distance(*_mean_and_covariance(a), *_mean_and_covariance(b)))


def _mean_and_covariance(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean ``(F,)`` and the unbiased covariance ``(F, F)`` of features ``(N, F)``."""
    rows = features.to(SUM_DTYPE)
    mean = rows.mean(0)
    centred = rows - mean
    return mean, centred.T @ centred / max(1, len(rows) - 1)
