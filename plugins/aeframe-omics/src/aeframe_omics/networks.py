"""The encoder ``counts_mlp``: dense layers on log-transformed counts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.corruptions import Corruption
from aeframe.parts.networks.mlp import MLPEncoder
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_omics.source import TARGET_SUM


class CountsMLP(MLPEncoder):
    """Dense layers on log(1 + count): ``(B, *shape)`` -> ``(B, hidden[-1])``; the matching decoder is ``mlp``.

    Covariates and other views (further measurements, such as proteins) are concatenated to the counts in x, and are not
    transformed.

    Args:
        shape: Shape of the encoder's input for one sample, covariates included.
        domain: Must be ``count``, unless the data have views.
        corruption: Corruption of the model.
        spec: Properties of the data, with the sizes of the views.
        hidden: Units of each layer.
        activation: The activation after each layer; null takes the run's activation.
        norm: Layer norm before each activation (Ba, Kiros & Hinton 2016, arXiv 1607.06450).
        dropout: Dropout probability after each layer.
        normalise: Scale each cell to 10,000 counts before the logarithm, which makes the input independent of the
            sequencing depth.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        corruption: Corruption,
        spec: DataSpec,
        *,
        hidden: tuple[int, ...] = (128,),
        activation: MakeActivation | None = None,
        norm: bool = True,
        dropout: float = 0.0,
        normalise: bool = False,
    ) -> None:
        super().__init__(shape, domain, corruption, hidden=hidden, activation=activation, norm=norm, dropout=dropout)
        self.normalise = normalise
        views = spec.views or {"x": (spec.shape[0], domain)}
        sizes = [size if view_domain.kind == "count" else 0 for size, view_domain in views.values()]
        if not any(sizes):
            raise AeframeError(f"encoder counts_mlp is for counts, but these data are {domain}; choose encoder=mlp")
        starts = [0, *torch.tensor([size for size, _ in views.values()]).cumsum(0).tolist()]
        self._counts = [slice(start, start + size) for start, size in zip(starts, sizes, strict=False) if size]

    def forward(self, batch: Batch) -> Tensor:
        inputs = batch.masked_x()
        # Not in place: some priors and penalties differentiate with respect to the inputs.
        x = inputs.clone()
        for columns in self._counts:
            counts = inputs[:, columns]
            if self.normalise:
                total = counts.flatten(1).sum(1).clamp(min=1)
                counts = counts * (TARGET_SUM / total).reshape(-1, *[1] * (counts.ndim - 1))
            x[:, columns] = counts.log1p()
        return super().forward(replace(batch, x=x, mask=None))
