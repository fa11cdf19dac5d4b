"""The Fréchet distance between two sets of images, in the features of a classifier."""

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


class Moments:
    """Sums from which the mean and covariance of features are computed; those of two sets of rows can be added.

    Args:
        num: Number of rows, one for each image.
        total: ``(F,)`` sum of the features.
        products: ``(F, F)`` sum of their outer products.
    """

    def __init__(self, num: Tensor, total: Tensor, products: Tensor) -> None:
        self.num, self.total, self.products = num, total, products

    @classmethod
    def from_features(cls, features: Tensor) -> Moments:
        """Return the moments of features ``(N, F)``, one row for each image."""
        rows = features.to(SUM_DTYPE)
        return cls(rows.new_tensor(float(len(rows))), rows.sum(0), rows.T @ rows)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.num + other.num, self.total + other.total, self.products + other.products)

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """Return the mean ``(F,)`` and the unbiased covariance ``(F, F)``."""
        mean = self.total / self.num
        return mean, (self.products - self.num * mean.outer(mean)) / (self.num - 1).clamp_min(1)


class FrechetReconstruction(ModelMetric):
    """The squared Fréchet distance between images and their reconstructions, in the features of a classifier (after
    Heusel et al. 2017, arXiv 1706.08500).

    The metric is named after the classifier: ``frechet/mnist-0a1b2c3d`` uses the classifier ``mnist`` from a file whose
    SHA-256 begins with ``0a1b2c3d``. Distances by two classifiers, or of different numbers of images, are not
    comparable. For samples of a model, see ``aeframe image-frechet``.

    Args:
        model: The model that is evaluated.
        file: The classifier, written by ``aeframe image-classifier``.
    """

    higher_is_better = False
    num: Tensor

    def __init__(self, model: Autoencoder, *, file: str) -> None:
        super().__init__()
        extractor = Extractor.load(Path(file).expanduser())
        self.network, self.label = extractor.network, f"frechet/{extractor.name}"
        size = self.network.num_features
        self.add_state("num", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        for name in ("original", "reconstruction"):
            self.add_state(f"{name}_total", torch.zeros(size, dtype=SUM_DTYPE), dist_reduce_fx="sum")
            self.add_state(f"{name}_products", torch.zeros(size, size, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return len(model.spec.shape) == 3 and model.spec.domain.kind in ("unit", "signed", "binary")

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        domain = model.spec.domain
        for name, x in (("original", out.batch.x), ("reconstruction", model.loss.mean(out.output))):
            moments = Moments.from_features(self.network(in_unit(x, domain)))
            setattr(self, f"{name}_total", getattr(self, f"{name}_total") + moments.total)
            setattr(self, f"{name}_products", getattr(self, f"{name}_products") + moments.products)
        self.num = self.num + len(out.batch)

    def compute(self) -> dict[str, Tensor]:
        original, reconstruction = (
            Moments(self.num, getattr(self, f"{name}_total"), getattr(self, f"{name}_products")).mean_and_covariance()
            for name in ("original", "reconstruction")
        )
        return {self.label: squared_frechet_distance(*original, *reconstruction)}


def check_number_of_images(who: str, num: int, features: int) -> None:
    """Check that there are enough images for a covariance of full rank; `who` begins the error message.

    Raises:
        AeframeError: There are too few images.
    """
    if num <= features:
        raise AeframeError(
            f"{who} estimates covariances of {features} features, which requires more than {features} images, found "
            f"{num}; increase -n, or choose a larger split"
        )
