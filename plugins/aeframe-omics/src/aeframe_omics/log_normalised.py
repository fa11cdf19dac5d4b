"""The feature space `log_normalised`: principal components of log-normalised counts."""

from __future__ import annotations

from torch import Tensor

from aeframe.data import Modality
from aeframe.errors import AeframeError
from aeframe.evaluation.feature_spaces import ReducedSpace
from aeframe.types import DataSpec
from aeframe_omics.modality import Omics

_TOTAL = 10_000.0


class LogNormalised(ReducedSpace):
    """Principal components of log(1 + counts), after the counts of each cell are scaled to a sum of 10,000.

    Genes only: further views of a cell are left out. With ``values`` of the modality other than ``counts`` the values
    are taken as they are.

    Args:
        modality: Kind of data of the model, which must be ``omics``.
        spec: Shape and domain of the cells.
        components: Number of components.
    """

    def __init__(self, modality: Modality, spec: DataSpec, *, components: int = 32) -> None:
        super().__init__(components=components)
        if not isinstance(modality, Omics):
            raise AeframeError(
                f"feature space log_normalised is for modality omics, found {type(modality).__name__}; choose another "
                "one"
            )
        self.num_genes = spec.views["counts"][0] if spec.views else spec.shape[0]
        self.has_counts = modality.values == "counts"

    def raw(self, x: Tensor) -> Tensor:
        genes = x[:, : self.num_genes].float()
        if not self.has_counts:
            return genes
        return (genes * (_TOTAL / genes.sum(1, keepdim=True).clamp_min(1e-6))).log1p()
