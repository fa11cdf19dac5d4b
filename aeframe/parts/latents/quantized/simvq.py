"""A codebook that moves as one: frozen vectors seen through a learned linear map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.parts.latents.quantized.base import Quantized
from aeframe.parts.latents.quantized.codebook import DataInitializedTable
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape

# The noise added to copies of a vector, in standard deviations of the batch.
_COPY_NOISE = 0.1


class MappedTable(DataInitializedTable):
    """Frozen vectors times a learned matrix."""

    learned = True
    frozen: Tensor
    """``(K, D)``."""

    def __init__(self, size: int, dim: int, *, data_init: bool) -> None:
        super().__init__(size, initialized=not data_init)
        self.register_buffer("frozen", torch.randn(size, dim) * dim**-0.5)
        self.map = nn.Linear(dim, dim, bias=False)

    @property
    def vectors(self) -> Tensor:
        mapped: Tensor = self.map(self.frozen)
        return mapped

    @torch.no_grad()
    def place(self, observed: Tensor) -> None:
        """Take vectors of the first batch, in turn, and the identity as the matrix."""
        num, dim = observed.shape
        chosen = observed[torch.arange(self.size, device=observed.device) % num]
        if num < self.size:
            # Copies would stay copies for ever.
            chosen = chosen + _COPY_NOISE * dim**0.5 * observed.std(0, correction=0) * self.frozen
        self.frozen.copy_(chosen)
        nn.init.eye_(self.map.weight)


class SimVQ(Quantized):
    """Look vectors up in a frozen random codebook times a learned matrix (Zhu et al. 2024, arXiv 2411.02038).

    One chosen code moves the matrix, and with it every code, so none is left behind and dead: there is nothing to
    revive. z is ``(dim, *positions)``, or ``(dim, tokens)`` of flat features. Terms, summed over the sample's own
    elements: ``commitment`` ||features - sg(code)||^2 and ``codebook`` ||sg(features) - code||^2.

    Args:
        feature_shape: ``(C, *positions)``.
        codebook_size: How many vectors there are to choose from.
        dim: Numbers of one vector.
        tokens: Vectors for each sample when the features are flat.
        commitment: Weight of the commitment term; a number or a schedule.
        data_init: The vectors are those of the first training batch, and the matrix begins as the identity; otherwise
            they are normal and the matrix random, as in the paper, which asks for features that lie about 0 and differ
            as much as the codes do.
        rotation_trick: Rotate the gradient instead of copying it straight through, see vq.
    """

    def __init__(
        self,
        feature_shape: Shape,
        *,
        codebook_size: int = 512,
        dim: int = 64,
        tokens: int = 8,
        commitment: Schedule = fixed(0.25),
        data_init: bool = True,
        rotation_trick: bool = False,
    ) -> None:
        super().__init__(feature_shape, dim, tokens, [MappedTable(codebook_size, dim, data_init=data_init)])
        self.weights["commitment"] = commitment
        self.rotation_trick = rotation_trick
