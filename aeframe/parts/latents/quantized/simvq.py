"""SimVQ: a codebook of frozen vectors times a learned matrix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.parts.latents.quantized.base import Quantized
from aeframe.parts.latents.quantized.codebook import DataInitializedTable
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape

# Noise added to copies of a vector, in standard deviations of the batch.
_COPY_NOISE = 0.1


class MappedTable(DataInitializedTable):
    """Frozen vectors times a learned matrix."""

    learned = True
    frozen: Tensor
    """``(K, D)``: one vector for each of K codes."""

    def __init__(self, size: int, dim: int, *, data_init: bool) -> None:
        super().__init__(size, initialized=not data_init)
        self.register_buffer("frozen", torch.randn(size, dim) * dim**-0.5)
        self.map = nn.Linear(dim, dim, bias=False)

    @property
    def vectors(self) -> Tensor:
        mapped: Tensor = self.map(self.frozen)
        return mapped

    @torch.no_grad()
    def set_vectors(self, observed: Tensor) -> None:
        """Set the frozen vectors to those of the batch, in order and cycled, and the matrix to the identity."""
        num, dim = observed.shape
        chosen = observed[torch.arange(self.size, device=observed.device) % num]
        if num < self.size:
            # Without noise, equal vectors would stay equal throughout training.
            chosen = chosen + _COPY_NOISE * dim**0.5 * observed.std(0, correction=0) * self.frozen
        self.frozen.copy_(chosen)
        nn.init.eye_(self.map.weight)


class SimVQ(Quantized):
    """Quantise to the nearest code of a frozen codebook times a learned matrix (Zhu et al. 2024, arXiv 2411.02038).

    The gradient of one chosen code changes the matrix, and so every code: codes do not die, and none is revived. z is
    ``(dim, *positions)``, or ``(dim, tokens)`` of flat features. The loss terms, summed over the sample's own
    elements, are ``commitment`` ||vector - sg(code)||^2 and ``codebook`` ||sg(vector) - code||^2, where sg stops the
    gradient.

    Args:
        feature_shape: ``(C, *positions)``.
        codebook_size: Number of codes.
        dim: Number of dimensions of one vector.
        tokens: Number of vectors of each sample when the features are flat.
        commitment: Weight of the commitment term; a number or a schedule.
        data_init: Initialise the vectors from the first training batch and the matrix to the identity. Otherwise both
            are random, as in the paper, which assumes features with the mean and variance of the codes.
        rotation_trick: Rotate and scale the gradient instead of copying it straight through, see latent vq.
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
