"""Finite scalar quantisation: each number of a vector is rounded to a few levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from vector_quantize_pytorch import FSQ

from aeframe.errors import AeframeError
from aeframe.parts.latents.quantized.base import Quantized
from aeframe.parts.latents.quantized.codebook import Codebook
from aeframe.types import Shape


class FiniteScalars(Codebook):
    """The points of a grid in D dimensions with `levels[i]` values along dimension i.

    `nearest` requires vectors that are points of the grid already, and returns their codes.
    """

    def __init__(self, levels: tuple[int, ...], *, symmetric: bool = False) -> None:
        super().__init__()
        self.size = math.prod(levels)
        # With return_indices FSQ would hold a table of every code.
        self.grid = FSQ(levels, return_indices=False, preserve_symmetry=symmetric, bound_hard_clamp=symmetric)

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        codes: Tensor = self.grid.codes_to_indices(vectors)
        return codes.long()

    def forward(self, codes: Tensor) -> Tensor:
        rows: Tensor = self.grid.indices_to_codes(codes.reshape(1, -1))
        return rows.reshape(*codes.shape, -1)


class FiniteScalarQuantized(Quantized):
    """Bound each number of a vector and round it to one of a few levels (Mentzer et al. 2023, arXiv 2309.15505).

    z is ``(len(levels), *positions)``, or ``(len(levels), tokens)`` of flat features, with values in [-1, 1]. No
    codebook is learned and there are no loss terms. The gradient is copied straight through the rounding.

    Args:
        feature_shape: ``(C, *positions)``.
        levels: Number of values along each dimension, at least 3; their product is the number of codes. The paper
            recommends (8, 6, 5), (8, 5, 5, 5), (7, 5, 5, 5, 5) and (8, 8, 8, 6, 5) for 2^8, 2^10, 2^12 and 2^14 codes.
        tokens: Number of vectors of each sample when the features are flat.
    """

    def __init__(self, feature_shape: Shape, *, levels: tuple[int, ...] = (8, 5, 5, 5), tokens: int = 8) -> None:
        if not levels or any(level < 3 for level in levels):
            raise AeframeError(f"latent fsq needs levels of at least 3, found {list(levels)}")
        super().__init__(feature_shape, len(levels), tokens, [FiniteScalars(levels)])

    def prepare(self, vectors: Tensor) -> Tensor:
        codebook = self._codebook(0)
        assert isinstance(codebook, FiniteScalars)
        # The rounded vectors may differ from the grid by rounding errors; z is computed from the codes and lies on it.
        rounded: Tensor = codebook.grid.quantize(vectors)
        return rounded

    def terms(self, residual: Tensor, quantized: Tensor) -> dict[str, Tensor]:
        return {}
