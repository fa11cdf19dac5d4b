"""Whether cells of a kind stand together in the latent space, and batches mixed, beside what PCA gives."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.types import ForwardOutput
from aeframe_omics.source import TARGET

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

_COMPONENTS = 20


class CellClusters(ModelMetric):
    """Compare the codes (posterior means) with what is known of the cells: labels, batches.

    ``ari`` and ``nmi``: adjusted Rand index (Hubert & Arabie 1985) and normalised mutual information between the labels
    and k-means of the codes, with as many clusters as there are labels. ``label_silhouette`` and ``batch_silhouette``:
    mean silhouette (Rousseeuw 1987), in [-1, 1]; labels should be apart, batches should not. The same names with
    ``pca_`` before them are those of 20 principal components of the same cells, of log(1 + 10,000 count / total).

    Cells without a label (or batch) are left out. What cannot be said of the cells at hand, as of one label only, is 0.

    Args:
        model: Says which of label and batch the data have.
        cells: How many are compared at most: the first of the split.
        seed: Of k-means and PCA.
    """

    codes: list[Tensor]
    x: list[Tensor]
    known: list[Tensor]

    def __init__(self, model: Autoencoder, *, cells: int = 4096, seed: int = 0) -> None:
        super().__init__()
        self.cells, self.seed = cells, seed
        self._roles = _roles(model)
        # Counts are the first of several views.
        views = model.spec.views or {"x": (model.spec.shape[0], model.spec.domain)}
        self._genes, domain = next(iter(views.values()))
        self._counts = domain.kind == "count"
        for name in ("codes", "x", "known"):
            self.add_state(name, [], dist_reduce_fx="cat")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return bool(_roles(model)) and len(model.spec.shape) == 1

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        left = self.cells - sum(len(each) for each in self.codes)
        if left <= 0:
            return
        self.codes.append(out.latent.mean.flatten(1).float()[:left])
        self.x.append(out.batch.masked_x()[:left, : self._genes].float())
        index = (
            torch.arange(len(out.batch.x), device=out.batch.x.device) if out.batch.index is None else out.batch.index
        )
        known = [out.batch.extras[role].long() for role in self._roles]
        self.known.append(torch.stack([index, *known], 1)[:left])

    def compute(self) -> dict[str, Tensor]:
        codes, x, known = (_joined(each).cpu().numpy() for each in (self.codes, self.x, self.known))
        # In the order of the file, so that batches and devices make no difference.
        order = known[:, 0].argsort(kind="stable")
        codes, x, known = codes[order], x[order], known[order]
        found = self._measured(codes, known)
        found |= {f"pca_{name}": value for name, value in self._measured(self._principal(x), known).items()}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}

    def _principal(self, x: NDArray[Any]) -> NDArray[Any]:
        from sklearn.decomposition import PCA

        if self._counts:
            x = np.log1p(x * (TARGET / x.sum(1, keepdims=True).clip(1)))
        components = min(_COMPONENTS, *x.shape)
        return PCA(components, svd_solver="randomized", random_state=self.seed).fit_transform(x)

    def _measured(self, points: NDArray[Any], known: NDArray[Any]) -> dict[str, float]:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

        found: dict[str, float] = {}
        for role, column in zip(self._roles, known.T[1:], strict=True):
            here, values = points[column >= 0], column[column >= 0]
            if role == "label":
                kinds = len(np.unique(values))
                found |= {"ari": 0.0, "nmi": 0.0}
                if 1 < kinds <= len(here):
                    with warnings.catch_warnings():
                        # Codes that coincide make fewer clusters, which the numbers tell.
                        warnings.simplefilter("ignore", ConvergenceWarning)
                        clusters = KMeans(kinds, n_init=10, random_state=self.seed).fit_predict(here)
                    found["ari"] = adjusted_rand_score(values, clusters)
                    found["nmi"] = normalized_mutual_info_score(values, clusters)
            found[f"{role}_silhouette"] = _silhouette(here, values)
        return found


def _silhouette(points: NDArray[Any], values: NDArray[Any]) -> float:
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(points, values)) if 1 < len(np.unique(values)) < len(values) else 0.0


def _roles(model: Autoencoder) -> tuple[str, ...]:
    return tuple(role for role in ("label", "batch") if role in model.spec.extras)


def _joined(rows: list[Tensor] | Tensor) -> Tensor:
    # After devices have met, torchmetrics has made one tensor of the list.
    return rows if isinstance(rows, Tensor) else torch.cat(rows)
