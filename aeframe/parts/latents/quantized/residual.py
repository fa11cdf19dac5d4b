"""Residual quantisers: each level quantises the residual of the levels above it.

Shapes: B samples, D numbers of a code vector, ``positions`` those of the features.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.latents.quantized.base import FiniteScalars, Quantized
from aeframe.parts.latents.quantized.codebook import LearnedCodebook
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class ResidualQuantized(Quantized):
    """Sum vectors of several codebooks, each nearest to what is left over (Zeghidour et al. 2021, arXiv 2107.03312).

    z is ``(dim, *positions)``, or ``(dim, tokens)`` of flat features; `Quantized` says how codes are laid out, and how
    to decode fewer levels. Terms are those of vq, of what each level is shown, summed over levels and groups. Codes
    have no distance=cosine: vectors of length 1 cannot add up to a remainder that becomes ever shorter. The rotation
    trick turns the whole vector into the sum of its codes.

    Args:
        feature_shape: ``(C, *positions)``.
        num_quantizers: Levels.
        groups: Parts of a vector, each with a residual quantiser of its own (Yang et al. 2023, arXiv 2305.02765).
        shared: One codebook for all the levels of a group (Lee et al. 2022, arXiv 2203.01941).
        quantizer_dropout: The share of training samples that are given only their first n levels, n drawn evenly from
            1 to `num_quantizers`; codes of the others are -1. Each sample draws for itself, as in the paper (there
            all of them do, a share of 1), so that its terms do not depend on its batch; Kumar et al. 2023
            (arXiv 2306.06546) advise 0.5.
        codebook_size: Vectors of each codebook.
        dim: Numbers of one vector, of all groups together.
        tokens: Vectors for each sample when the features are flat.
        update: See vq, and so for the options below.
        decay: Of the averages behind ``ema`` and `revive`.
        commitment: Weight of the commitment term.
        kmeans_init: Each level is placed by the first batch that it is shown.
        revive: Codes below this share of an even use are moved; 0 leaves dead codes dead.
        rotation_trick: Rotate the gradient instead of copying it.
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
        codebooks = [
            LearnedCodebook(
                codebook_size, dim // groups, update=update, decay=decay, kmeans_init=kmeans_init, revive=revive
            )
            for _ in range(groups if shared else groups * num_quantizers)
        ]
        super().__init__(feature_shape, dim, tokens, codebooks, num_levels=groups * num_quantizers, num_groups=groups)
        self.weights["commitment"] = commitment
        self.rotation_trick, self.quantizer_dropout = rotation_trick, quantizer_dropout


class ResidualFiniteScalar(Quantized):
    """Round to a grid, and round what is left over to the same grid made smaller.

    Residual finite scalar quantisation with symmetric grids (Parker et al. 2024, arXiv 2411.19842, section 3.2). A
    grid has L values from -1 to 1, and each level is L times smaller than the one above: its values divide each cell
    above into L equal ones, so that n levels are a single even grid of L^n values. Vectors are bounded smoothly to the
    cells of the first grid, |v| < L / (L - 1). z is ``(len(levels), *positions)``, or ``(len(levels), tokens)`` of flat
    features. There is no codebook to learn, and there are no terms. The gradient goes straight through the rounding.

    Args:
        feature_shape: ``(C, *positions)``.
        levels: How many values each number can take at one level, at least 2; their product is the number of codes.
        num_quantizers: Levels of the residual.
        quantizer_dropout: See rvq.
        tokens: Vectors for each sample when the features are flat.
    """

    bounds: Tensor
    """``(D,)``: where the outer cells end."""

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
        grids = [SmallerScalars(levels, level) for level in range(num_quantizers)]
        super().__init__(feature_shape, len(levels), tokens, grids, num_levels=num_quantizers)
        self.quantizer_dropout = quantizer_dropout
        values = torch.tensor(levels, dtype=torch.get_default_dtype())
        self.register_buffer("bounds", values / (values - 1), persistent=False)

    def prepare(self, vectors: Tensor) -> Tensor:
        return self.bounds * (vectors / self.bounds).tanh()

    def terms(self, residual: Tensor, quantized: Tensor) -> dict[str, Tensor]:
        return {}


class SmallerScalars(FiniteScalars):
    """A symmetric grid, made `level` times smaller by its number of values."""

    scale: Tensor

    def __init__(self, levels: tuple[int, ...], level: int) -> None:
        super().__init__(levels, symmetric=True)
        values = torch.tensor(levels, dtype=torch.get_default_dtype())
        self.register_buffer("scale", values**-level, persistent=False)

    def nearest(self, vectors: Tensor) -> Tensor:
        return super().nearest(self.grid.quantize(vectors / self.scale))

    def forward(self, codes: Tensor) -> Tensor:
        return super().forward(codes) * self.scale


def check_levels(name: str, num_quantizers: int, quantizer_dropout: float) -> None:
    """Refuse no levels, and a share that is none."""
    if num_quantizers < 1 or not 0 <= quantizer_dropout <= 1:
        raise AeframeError(
            f"latent {name} needs num_quantizers of at least 1 and quantizer_dropout in [0, 1], found "
            f"{num_quantizers} and {quantizer_dropout}"
        )
