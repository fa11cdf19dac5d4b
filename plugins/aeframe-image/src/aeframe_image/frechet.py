"""The Fréchet distance of two sets of images, in the features of a named network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.types import ForwardOutput
from aeframe_image.extractor import Extractor, in_unit

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder


def distance_of_normals(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> Tensor:
    """Return the squared Fréchet distance of two normal distributions (Dowson & Landau 1982).

    ``|a - b|^2 + tr(A + B - 2 (A B)^(1/2))``: the trace of the root is the sum of the roots of the eigenvalues of
    ``A^(1/2) B A^(1/2)``, which is symmetric, so nothing has an imaginary part.
    """
    values, vectors = torch.linalg.eigh(covariance_a)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    both = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp_min(0).sqrt().sum()
    apart = (mean_a - mean_b).square().sum()
    # Two equal sets give zero less rounding.
    return (apart + covariance_a.trace() + covariance_b.trace() - 2 * both).clamp_min(0)


class Moments:
    """Mean and covariance of features, from sums that add up."""

    def __init__(self, num: Tensor, total: Tensor, products: Tensor) -> None:
        self.num, self.total, self.products = num, total, products

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Return those of some rows ``(N, F)``."""
        rows = features.to(SUM_DTYPE)
        return cls(rows.new_tensor(float(len(rows))), rows.sum(0), rows.T @ rows)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.num + other.num, self.total + other.total, self.products + other.products)

    def normal(self) -> tuple[Tensor, Tensor]:
        """Return the mean ``(F,)`` and the unbiased covariance ``(F, F)``."""
        mean = self.total / self.num
        return mean, (self.products - self.num * mean.outer(mean)) / (self.num - 1).clamp_min(1)


class FrechetReconstruction(ModelMetric):
    """The Fréchet distance between images and their reconstructions, in the features of a classifier (after Heusel et
    al. 2017, arXiv 1706.08500).

    Its name says which: ``frechet/mnist-0a1b2c3d`` is by the file that ``aeframe image-classifier`` called ``mnist``,
    whose SHA-256 begins so. Numbers of two classifiers, or of different numbers of images, do not compare; new samples
    are measured by ``aeframe image-frechet``.

    Args:
        model: Says how wide the range of the values is.
        file: The classifier.
    """

    higher_is_better = False
    num: Tensor

    def __init__(self, model: Autoencoder, *, file: str) -> None:
        super().__init__()
        extractor = Extractor.load(Path(file).expanduser())
        self.network, self.label = extractor.network, f"frechet/{extractor.name}"
        size = self.network.num_features
        self.add_state("num", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        for name in ("real", "made"):
            self.add_state(f"{name}_total", torch.zeros(size, dtype=SUM_DTYPE), dist_reduce_fx="sum")
            self.add_state(f"{name}_products", torch.zeros(size, size, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return len(model.spec.shape) == 3 and model.spec.domain.kind in ("unit", "signed", "binary")

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        domain = model.spec.domain
        for name, x in (("real", out.batch.x), ("made", model.loss.mean(out.output))):
            moments = Moments.of(self.network(in_unit(x, domain)))
            setattr(self, f"{name}_total", getattr(self, f"{name}_total") + moments.total)
            setattr(self, f"{name}_products", getattr(self, f"{name}_products") + moments.products)
        self.num = self.num + len(out.batch)

    def compute(self) -> dict[str, Tensor]:
        real, made = (
            Moments(self.num, getattr(self, f"{name}_total"), getattr(self, f"{name}_products")).normal()
            for name in ("real", "made")
        )
        return {self.label: distance_of_normals(*real, *made)}


def check_enough(who: str, num: int, features: int) -> None:
    """Refuse fewer images than their covariance needs."""
    if num <= features:
        raise AeframeError(
            f"{who} compares covariances of {features} features, which takes more than {features} images, found {num}; "
            "give more"
        )
