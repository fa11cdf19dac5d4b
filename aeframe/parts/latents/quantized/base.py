"""Quantised latents: a code is one of finitely many vectors at each position, or a sum of several.

Shapes: B samples, D numbers of a code vector, ``positions`` those of the features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

from aeframe.devices import gather_rows
from aeframe.errors import AeframeError
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.latents.quantized.codebook import Codebook, LearnedCodebook
from aeframe.parts.networks.head import Head
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import broadcast_mask, per_sample
from aeframe.types import Latent, Shape


class Tokens(nn.Module):
    """The last linear step before a quantiser: features ``(B, C, *positions)`` -> ``(B, *positions, D)``.

    Each position gives one vector; flat features ``(B, C)`` give `tokens` of them. The vectors come last, and in
    float32 at least: near-by codes differ by less than half precision shows.
    """

    def __init__(self, feature_shape: Shape, dim: int, tokens: int) -> None:
        super().__init__()
        if dim < 1 or tokens < 1:
            raise AeframeError(f"a quantised latent needs dim and tokens of at least 1, found {dim} and {tokens}")
        positions = feature_shape[1:] or (tokens,)
        self.flat = len(feature_shape) == 1
        self.head = Head(feature_shape, tokens * dim if self.flat else dim, spatial=not self.flat)
        self.shape: Shape = (dim, *positions)

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.head(features)
        vectors = (projected.unflatten(1, self.shape) if self.flat else projected).movedim(1, -1)
        return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


class Quantized(LatentSpace):
    """Vectors looked up in codebooks: the base class of quantised latents.

    Each of `num_groups` equal parts of a vector is the sum of one vector from each level, where every level looks up
    the residual of the levels above it. Level ``l`` of group ``g`` is number ``l * num_groups + g`` of a
    position's codes, so that ``codes[..., n * num_groups:] = -1`` leaves all but the first n levels out: `from_codes`
    takes -1 for a vector of zeros.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: D, of all groups together.
        tokens: Vectors for each sample when the features are flat.
        codebooks: One for each number of a position's codes, or fewer, which are used in turn.
        num_levels: Numbers of a position's codes.
        num_groups: Parts of a vector.
    """

    provides = frozenset({"codes"})
    rotation_trick = False
    quantizer_dropout = 0.0

    def __init__(
        self,
        feature_shape: Shape,
        dim: int,
        tokens: int,
        codebooks: Sequence[Codebook],
        *,
        num_levels: int = 1,
        num_groups: int = 1,
    ) -> None:
        super().__init__()
        self.tokens = Tokens(feature_shape, dim, tokens)
        self.shape = self.tokens.shape
        self.codebooks = nn.ModuleList(codebooks)
        self.num_codes, self.num_levels, self.num_groups = codebooks[0].size, num_levels, num_groups

    def prepare(self, vectors: Tensor) -> Tensor:
        """Return vectors ``(B, *positions, D)`` as they are looked up, with the gradient that z passes on."""
        return vectors

    def terms(self, residual: Tensor, quantized: Tensor) -> dict[str, Tensor]:
        """Return the terms ``(B,)`` of one look-up, which are summed over all of them."""
        found = {"commitment": per_sample((residual - quantized.detach()).square())}
        if self.codebooks[0].learned:
            found["codebook"] = per_sample((residual.detach() - quantized).square())
        return found

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        vectors = self.prepare(self.tokens(features))
        # Passes without gradients (of an adversary, of a layer that is recomputed) change no codebook.
        learn = self.training and torch.is_grad_enabled() and not vectors.is_meta
        observed: list[list[tuple[Tensor, Tensor, Tensor | None]]] = [[] for _ in self.codebooks]
        kept, residuals = self._kept(vectors), list(vectors.chunk(self.num_groups, -1))
        codes: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        for level in range(self.num_levels):
            number, group = level % len(self.codebooks), level % self.num_groups
            codebook, residual = self._codebook(level), residuals[group]
            keep = None if kept is None else kept > level // self.num_groups
            if learn and not codebook.is_initialized:
                _initialize(codebook, residual.detach(), keep)
            found = codebook.nearest(residual.detach())
            quantized = codebook(found)
            if learn and codebook.updated:
                observed[number].append(_observed(residual.detach(), found, keep))
            for name, value in self.terms(residual, quantized).items():
                terms[name] = terms.get(name, 0.0) + (value if keep is None else value * keep)
            residuals[group] = residual - quantized.detach()
            codes.append(found if keep is None else found.masked_fill(~broadcast_mask(keep, found.ndim), -1))
        stacked = torch.stack(codes, -1)
        z = _with_gradient_of(
            vectors,
            self.from_codes(stacked).movedim(1, -1).detach(),
            rotate=self.rotation_trick and self.training,
        ).movedim(-1, 1)
        # After all look-ups: a codebook shared by several levels does not depend on their order.
        for number, levels in enumerate(observed):
            if levels:
                every, chosen, counted = zip(*levels, strict=True)
                self._codebook(number).ema_update(
                    torch.cat(every),
                    torch.cat(chosen),
                    None if kept is None else torch.cat([one for one in counted if one is not None]),
                )
        return Latent(z if num_samples is None else z.expand(num_samples, *z.shape), z, codes=stacked, terms=terms)

    def from_codes(self, codes: Tensor) -> Tensor:
        vectors = [
            self._codebook(level)(one.clamp(min=0)).masked_fill((one < 0).unsqueeze(-1), 0)
            for level, one in enumerate(codes.unbind(-1))
        ]
        groups = [reduce(torch.add, vectors[group :: self.num_groups]) for group in range(self.num_groups)]
        return torch.cat(groups, -1).movedim(-1, 1).to(self.tokens.head.linear.weight.dtype)

    def _codebook(self, level: int) -> Codebook:
        codebook = self.codebooks[level % len(self.codebooks)]
        assert isinstance(codebook, Codebook)
        return codebook

    def _kept(self, vectors: Tensor) -> Tensor | None:
        """Return ``(B,)``: how many levels each sample keeps in training; None where every sample keeps all."""
        num = self.num_levels // self.num_groups
        if not self.training or not self.quantizer_dropout or num == 1:
            return None
        chosen = torch.rand(len(vectors), device=vectors.device) < self.quantizer_dropout
        few = torch.randint(1, num + 1, (len(vectors),), device=vectors.device)
        return torch.where(chosen, few, num)


class VectorQuantized(Quantized):
    """Replace each vector by the nearest of a learned codebook (van den Oord et al. 2017, arXiv 1711.00937).

    z is ``(dim, *positions)``, or ``(dim, tokens)`` of flat features. Terms, summed over the sample's own elements:
    ``commitment`` ||features - sg(code)||^2 and, where gradients learn the codebook, ``codebook``
    ||sg(features) - code||^2. The codebook changes in training mode only. With several processes every one sees all
    the vectors and makes the same change.

    Args:
        feature_shape: ``(C, *positions)``.
        codebook_size: How many vectors there are to choose from.
        dim: Numbers of one vector.
        tokens: Vectors for each sample when the features are flat.
        update: ``ema`` moves a code to the mean of the vectors that chose it (appendix A.1 of the paper);
            ``gradient`` learns it as a parameter.
        decay: Of the averages behind ``ema`` and `revive`, for each batch.
        commitment: Weight of the commitment term; a number or a schedule.
        kmeans_init: The first training batch places the codebook by k-means.
        revive: A code that is chosen less often than this share of an even use is moved to one of the batch's
            vectors (Dhariwal et al. 2020, arXiv 2005.00341); 0 leaves dead codes dead.
        rotation_trick: The gradient is rotated and scaled with the vector instead of copied straight through
            (Fifty et al. 2024, arXiv 2410.06424).
        distance: ``cosine`` brings vectors and codes to length 1 first (Yu et al. 2022, arXiv 2110.04627).
    """

    def __init__(
        self,
        feature_shape: Shape,
        *,
        codebook_size: int = 512,
        dim: int = 64,
        tokens: int = 8,
        update: Literal["ema", "gradient"] = "ema",
        decay: float = 0.99,
        commitment: Schedule = fixed(0.25),
        kmeans_init: bool = True,
        revive: float = 0.1,
        rotation_trick: bool = False,
        distance: Literal["euclidean", "cosine"] = "euclidean",
    ) -> None:
        cosine = distance == "cosine"
        codebook = LearnedCodebook(
            codebook_size, dim, update=update, decay=decay, kmeans_init=kmeans_init, revive=revive, cosine=cosine
        )
        super().__init__(feature_shape, dim, tokens, [codebook])
        self.weights["commitment"] = commitment
        self.rotation_trick, self.cosine = rotation_trick, cosine

    def prepare(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=-1) if self.cosine else vectors


class FiniteScalars(Codebook):
    """The points of a grid in D dimensions, with `levels` values in each. `nearest` takes vectors that lie on it."""

    def __init__(self, levels: tuple[int, ...], *, symmetric: bool = False) -> None:
        super().__init__()
        self.size = math.prod(levels)
        # With return_indices it would hold a table of every code.
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

    z is ``(len(levels), *positions)``, or ``(len(levels), tokens)`` of flat features, with values in [-1, 1]. There is
    no codebook to learn, and there are no terms. The gradient goes straight through the rounding.

    Args:
        feature_shape: ``(C, *positions)``.
        levels: How many values each number can take, at least 3; their product is the number of codes. The paper
            advises (8, 6, 5), (8, 5, 5, 5), (7, 5, 5, 5, 5) and (8, 8, 8, 6, 5) for 2^8, 2^10, 2^12 and 2^14.
        tokens: Vectors for each sample when the features are flat.
    """

    def __init__(self, feature_shape: Shape, *, levels: tuple[int, ...] = (8, 5, 5, 5), tokens: int = 8) -> None:
        if not levels or any(level < 3 for level in levels):
            raise AeframeError(f"latent fsq needs levels of at least 3, found {list(levels)}")
        super().__init__(feature_shape, len(levels), tokens, [FiniteScalars(levels)])

    def prepare(self, vectors: Tensor) -> Tensor:
        codebook = self._codebook(0)
        assert isinstance(codebook, FiniteScalars)
        # Off the grid by the last bit; the vector of the code is on it.
        rounded: Tensor = codebook.grid.quantize(vectors)
        return rounded

    def terms(self, residual: Tensor, quantized: Tensor) -> dict[str, Tensor]:
        return {}


def _with_gradient_of(vectors: Tensor, quantized: Tensor, *, rotate: bool) -> Tensor:
    """Return the value of `quantized` with a gradient to `vectors`: copied, or rotated and scaled like the vector."""
    if rotate:
        rotated: Tensor = rotate_to(vectors, quantized)
        return rotated
    # Not v + (q - v): rounding would move z away from its code.
    return quantized + (vectors - vectors.detach())


def _initialize(codebook: Codebook, residual: Tensor, keep: Tensor | None) -> None:
    """Initialise a codebook by the vectors ``(B, *positions, D)`` of all processes, if any is kept ``(B,)``."""
    every, _, counted = _observed(residual, residual[..., 0], keep)
    rows = every if counted is None else every[counted]
    if len(rows):
        codebook.initialize(rows)


def _observed(residual: Tensor, codes: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return vectors ``(N, D)``, codes ``(N,)`` and which of them count ``(N,)``, of all processes."""
    counted = None if keep is None else broadcast_mask(keep, codes.ndim).expand_as(codes).flatten()
    return (
        gather_rows(residual.flatten(0, -2)),
        gather_rows(codes.flatten()),
        None if counted is None else gather_rows(counted),
    )
