"""The metric ``cell_clusters``: agreement of codes with cell labels and mixing of batches, compared with PCA."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.evaluation.metrics.subset import SubsetMetric
from aeframe.types import ForwardOutput
from aeframe_omics.source import TARGET_SUM

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

_NUM_COMPONENTS = 20


class CellClusters(SubsetMetric):
    """Compare the codes (posterior means) of cells with their labels and batches.

    ``ari`` and ``nmi`` are the adjusted Rand index (Hubert & Arabie 1985) and the normalised mutual information between
    the labels and a k-means clustering of the codes with as many clusters as labels. ``label_silhouette`` and
    ``batch_silhouette`` are mean silhouettes (Rousseeuw 1987) in [-1, 1]; labels should be separated, batches mixed.
    The metrics with the prefix ``pca_`` are the same for 20 principal components of log(1 + 10,000 count / total).

    Cells without label (or batch) are left out. A metric that is undefined, such as with a single label, is 0.

    Args:
        model: The model that is evaluated.
        cells: The maximum number of cells that are compared, a random subset.
        seed: Seed of the subset, k-means and PCA.
    """

    def __init__(self, model: Autoencoder, *, cells: int = 4096, seed: int = 0) -> None:
        super().__init__(cells, seed, "codes", "x", "annotations")
        self.seed = seed
        self._roles = _roles(model)
        # The first view is the counts.
        views = model.spec.views or {"x": (model.spec.shape[0], model.spec.domain)}
        self._num_genes, domain = next(iter(views.values()))
        self._counts = domain.kind == "count"

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return bool(_roles(model)) and len(model.spec.shape) == 1

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        index = (
            torch.arange(len(out.batch.x), device=out.batch.x.device) if out.batch.index is None else out.batch.index
        )
        annotations = [out.batch.extras[role].long() for role in self._roles]
        # Columns of the annotations: the index, then the category code for each role (label, batch) of the data.
        self.store(
            out.batch,
            codes=out.latent.mean.flatten(1).float(),
            x=out.batch.masked_x()[:, : self._num_genes].float(),
            annotations=torch.stack([index, *annotations], 1),
        )

    def compute(self) -> dict[str, Tensor]:
        stored = self.stored()
        codes, x, annotations = (stored[name].cpu().numpy() for name in ("codes", "x", "annotations"))
        # Sorted by `Batch.index`, so that the metrics do not depend on batches and devices.
        order = annotations[:, 0].argsort(kind="stable")
        codes, x, annotations = codes[order], x[order], annotations[order]
        metrics = self._metrics(codes, annotations)
        metrics |= {f"pca_{name}": value for name, value in self._metrics(self._pca(x), annotations).items()}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()}

    def _pca(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the principal components of cells ``(N, genes)``."""
        from sklearn.decomposition import PCA

        if self._counts:
            x = np.log1p(x * (TARGET_SUM / x.sum(1, keepdims=True).clip(1)))
        num_components = min(_NUM_COMPONENTS, *x.shape)
        if len(x) == 1:
            # A single cell has no variance.
            return np.zeros((1, num_components), x.dtype)
        return PCA(num_components, svd_solver="randomized", random_state=self.seed).fit_transform(x)

    def _metrics(self, points: NDArray[Any], annotations: NDArray[Any]) -> dict[str, float]:
        """Return the metrics of points ``(N, D)``, which are codes or principal components of the cells."""
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

        metrics: dict[str, float] = {}
        for role, column in zip(self._roles, annotations.T[1:], strict=True):
            annotated, values = points[column >= 0], column[column >= 0]
            if role == "label":
                num_labels = len(np.unique(values))
                metrics |= {"ari": 0.0, "nmi": 0.0}
                if 1 < num_labels <= len(annotated):
                    with warnings.catch_warnings():
                        # k-means warns about identical points, which low scores already show.
                        warnings.simplefilter("ignore", ConvergenceWarning)
                        clusters = KMeans(num_labels, n_init=10, random_state=self.seed).fit_predict(annotated)
                    metrics["ari"] = adjusted_rand_score(values, clusters)
                    metrics["nmi"] = normalized_mutual_info_score(values, clusters)
            metrics[f"{role}_silhouette"] = _silhouette(annotated, values)
        return metrics


def _silhouette(points: NDArray[Any], values: NDArray[Any]) -> float:
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(points, values)) if 1 < len(np.unique(values)) < len(values) else 0.0


def _roles(model: Autoencoder) -> tuple[str, ...]:
    """Return which of label and batch the data have."""
    return tuple(role for role in ("label", "batch") if role in model.spec.extras)
