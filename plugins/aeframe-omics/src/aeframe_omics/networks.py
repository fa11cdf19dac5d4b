"""An encoder that reads counts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.mlp import MLPEncoder
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_omics.source import TARGET


class CountsMLP(MLPEncoder):
    """Dense layers on log(1 + count): ``(B, *shape)`` -> ``(B, hidden[-1])``; its mirror image is the decoder mlp.

    What stands behind the counts in x, other views and covariates, is read as it is.

    Args:
        shape: Of a sample as the encoder sees it, covariates included.
        domain: Must be ``count``, unless the data have views.
        spec: Says where the counts end.
        hidden: Units of each layer.
        activation: After each layer; null takes the run's own.
        norm: Normalise each layer before its activation (Ba, Kiros & Hinton 2016, arXiv 1607.06450).
        dropout: The share of units that is dropped after each.
        normalise: Scale each cell to 10,000 counts first, so that the code need not hold how deeply it was sequenced.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        spec: DataSpec,
        *,
        hidden: tuple[int, ...] = (128,),
        activation: MakeActivation | None = None,
        norm: bool = True,
        dropout: float = 0.0,
        normalise: bool = False,
    ) -> None:
        super().__init__(shape, domain, hidden=hidden, activation=activation, norm=norm, dropout=dropout)
        self.normalise = normalise
        views = spec.views or {"x": (spec.shape[0], domain)}
        sizes = [size if each.kind == "count" else 0 for size, each in views.values()]
        if not any(sizes):
            raise AeframeError(f"encoder counts_mlp reads counts, but these data are {domain}; choose encoder=mlp")
        starts = [0, *torch.tensor([size for size, _ in views.values()]).cumsum(0).tolist()]
        self._counts = [slice(start, start + size) for start, size in zip(starts, sizes, strict=False) if size]

    def forward(self, batch: Batch) -> Tensor:
        seen = batch.masked_x()
        # Not in place: a prior of pseudo-inputs and a penalty of slopes ask for the gradient by what is seen.
        x = seen.clone()
        for counts in self._counts:
            values = seen[:, counts]
            if self.normalise:
                total = values.flatten(1).sum(1).clamp(min=1)
                values = values * (TARGET / total).reshape(-1, *[1] * (values.ndim - 1))
            x[:, counts] = values.log1p()
        return super().forward(replace(batch, x=x, mask=None))
