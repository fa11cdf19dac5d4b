"""Residual quantisers: each level quantises the residual of the levels before it.

Shapes: B samples, D dimensions of a vector, ``positions`` those of the features.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.latents.quantized.base import Quantized
from aeframe.parts.latents.quantized.codebook import CodebookOptions
from aeframe.parts.latents.quantized.fsq import FiniteScalars
from aeframe.parts.latents.quantized.vq import LearnedQuantized
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class ResidualQuantized(LearnedQuantized):
    """Sum codes of several codebooks, each nearest to the residual so far (Zeghidour et al. 2021, arXiv 2107.03312).

    z is ``(dim, *positions)``, or ``(dim, tokens)`` of flat features. `Quantized` defines the layout of the codes and
    how to decode fewer levels. The loss terms are those of latent vq (``commitment``, and ``codebook`` with
    update=gradient), summed over levels and groups. There is no distance=cosine: vectors of length 1 cannot sum to
    residuals that shrink to 0. The rotation trick maps the whole vector to the sum of its codes.

    Args:
        feature_shape: ``(C, *positions)``.
        num_quantizers: Number of levels.
        groups: Number of parts of a vector, each with its own residual quantiser (Yang et al. 2023, arXiv 2305.02765).
        shared: Use one codebook for all levels of a group (Lee et al. 2022, arXiv 2203.01941).
        quantizer_dropout: Fraction of the training samples that keep only their first n levels, n uniform from 1 to
            `num_quantizers`; the codes of the other levels are -1. Each sample is selected independently, so that its
            terms do not depend on its batch. The paper uses a fraction of 1; Kumar et al. 2023 (arXiv 2306.06546)
            recommend 0.5.
        codebook_size: Number of codes in each codebook.
        dim: Number of dimensions of one vector, of all groups together.
        tokens: Number of vectors of each sample when the features are flat.
        update: ``ema`` or ``gradient``, see latent vq.
        decay: Decay per batch of the moving averages that ``ema`` and `revive` use.
        commitment: Weight of the commitment term; a number or a schedule.
        kmeans_init: Initialise each level by k-means on its first batch of residuals.
        revive: Replace codes used less often than this fraction of uniform use, see latent vq; 0 keeps dead codes.
        rotation_trick: Rotate and scale the gradient instead of copying it, see latent vq.
    """

    def __init__(
        self,
        feature_shape: Shape,
        *,
        num_quantizers: int = 4,
        groups: int = 1,
        shared: bool = False,
        quantizer_dropout: float = 0.0,
        codebook_size: int = 256,
        dim: int = 64,
        tokens: int = 8,
        update: Literal["ema", "gradient"] = "ema",
        decay: float = 0.99,
        commitment: Schedule = fixed(0.25),
        kmeans_init: bool = True,
        revive: float = 0.1,
        rotation_trick: bool = False,
    ) -> None:
        check_levels("rvq", num_quantizers, quantizer_dropout)
        if groups < 1 or dim % groups:
            raise AeframeError(f"latent rvq needs groups that divide dim, found {groups} groups of dim {dim}")
        options = CodebookOptions(
            codebook_size,
            dim,
            tokens=tokens,
            update=update,
            decay=decay,
            commitment=commitment,
            kmeans_init=kmeans_init,
            revive=revive,
            rotation_trick=rotation_trick,
        )
        super().__init__(
            feature_shape,
            options,
            num_levels=groups * num_quantizers,
            num_groups=groups,
            num_codebooks=groups if shared else None,
        )
        self.quantizer_dropout = quantizer_dropout


class ResidualFiniteScalar(Quantized):
    """Round to a grid, and round the residual to the same grid at a smaller scale.

    Residual finite scalar quantisation with symmetric grids (Parker et al. 2024, arXiv 2411.19842, section 3.2). A
    grid has L values from -1 to 1, and each level's grid is L times smaller than the one before. It divides each
    cell of the one before into L equal cells, so that n levels are one regular grid of L^n values. Vectors are bounded
    smoothly to the cells of the first grid, |v| < L / (L - 1). z is ``(len(levels), *positions)``, or ``(len(levels),
    tokens)`` of flat features. No codebook is learned and there are no loss terms. The gradient is copied straight
    through the rounding.

    Args:
        feature_shape: ``(C, *positions)``.
        levels: Number of values along each dimension of one grid, at least 2; their product is the number of codes.
        num_quantizers: Number of levels, the first grid included.
        quantizer_dropout: Fraction of the training samples that keep only their first levels, see latent rvq.
        tokens: Number of vectors of each sample when the features are flat.
    """

    bounds: Tensor
    """``(D,)``: the outer border of the outermost cells."""

    def __init__(
        self,
        feature_shape: Shape,
        *,
        levels: tuple[int, ...] = (5, 5, 5, 5),
        num_quantizers: int = 2,
        quantizer_dropout: float = 0.0,
        tokens: int = 8,
    ) -> None:
        check_levels("rfsq", num_quantizers, quantizer_dropout)
        if not levels or any(level < 2 for level in levels):
            raise AeframeError(f"latent rfsq needs levels of at least 2, found {list(levels)}")
        grids = [ScaledFiniteScalars(levels, level) for level in range(num_quantizers)]
        super().__init__(feature_shape, len(levels), tokens, grids, num_levels=num_quantizers)
        self.quantizer_dropout = quantizer_dropout
        num_values = torch.tensor(levels, dtype=torch.get_default_dtype())
        self.register_buffer("bounds", num_values / (num_values - 1), persistent=False)

    def prepare(self, vectors: Tensor) -> Tensor:
        return self.bounds * (vectors / self.bounds).tanh()

    def terms(self, residual: Tensor, quantized: Tensor) -> dict[str, Tensor]:
        return {}


class ScaledFiniteScalars(FiniteScalars):
    """A symmetric grid of ``levels[i]`` values along dimension i, scaled by ``levels ** -level``."""

    scale: Tensor

    def __init__(self, levels: tuple[int, ...], level: int) -> None:
        super().__init__(levels, symmetric=True)
        num_values = torch.tensor(levels, dtype=torch.get_default_dtype())
        self.register_buffer("scale", num_values**-level, persistent=False)

    def nearest(self, vectors: Tensor) -> Tensor:
        return super().nearest(self.grid.quantize(vectors / self.scale))

    def forward(self, codes: Tensor) -> Tensor:
        return super().forward(codes) * self.scale


def check_levels(name: str, num_quantizers: int, quantizer_dropout: float) -> None:
    """Raise an error for fewer than one level, or a dropout outside [0, 1]."""
    if num_quantizers < 1 or not 0 <= quantizer_dropout <= 1:
        raise AeframeError(
            f"latent {name} needs num_quantizers of at least 1 and quantizer_dropout in [0, 1], found "
            f"{num_quantizers} and {quantizer_dropout}"
        )
