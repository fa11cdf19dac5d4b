"""Precision, recall, density and coverage of samples: whether they lie where the data are, and all data near them.

Shapes: N real and M generated samples with F features each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE


def precision_and_recall(real: Tensor, generated: Tensor, *, neighbours: int = 3) -> tuple[float, float]:
    """Return improved precision and recall in [0, 1] (Kynkäänniemi et al. 2019, arXiv 1904.06991).

    The balls around the samples of a set, each as large as the distance to the k-th nearest other sample of the set,
    cover its manifold. Precision is the fraction of generated samples inside the balls of the real ones; recall the
    fraction of real samples inside those of the generated ones.

    Args:
        real: ``(N, F)``, N above `neighbours`.
        generated: ``(M, F)``, M above `neighbours`.
        neighbours: k.
    """
    distances = _distances(real, generated)
    inside_real = distances <= _radii(real, neighbours).unsqueeze(1)
    inside_generated = distances <= _radii(generated, neighbours).unsqueeze(0)
    return float(inside_real.any(0).double().mean()), float(inside_generated.any(1).double().mean())


def density_and_coverage(real: Tensor, generated: Tensor, *, neighbours: int = 5) -> tuple[float, float]:
    """Return density, about 1 for equal distributions, and coverage in [0, 1] (Naeem et al. 2020, arXiv 2002.09797).

    With the balls of `precision_and_recall` around the real samples, density is the mean number of balls in which a
    generated sample lies, divided by k; coverage is the fraction of balls in which one lies. Outliers of the generated
    samples do not raise them.

    Args:
        real: ``(N, F)``, N above `neighbours`.
        generated: ``(M, F)``.
        neighbours: k.
    """
    inside = _distances(real, generated) <= _radii(real, neighbours).unsqueeze(1)
    return float(inside.double().sum(0).mean() / neighbours), float(inside.any(1).double().mean())


def _radii(points: Tensor, neighbours: int) -> Tensor:
    """Return the distance ``(N,)`` of each point to the k-th nearest other one."""
    distances = _distances(points, points)
    distances.fill_diagonal_(torch.inf)
    return distances.kthvalue(neighbours, dim=1).values


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the distances ``(N, M)``. They are computed element by element: expanded squares round to other values."""
    return torch.cdist(a.to(SUM_DTYPE), b.to(SUM_DTYPE), compute_mode="donot_use_mm_for_euclid_dist")
