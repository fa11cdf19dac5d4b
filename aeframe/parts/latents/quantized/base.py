"""`Quantized`, the base class of quantised latents, and the projection of features to the vectors they quantise.

A code is the number of a vector in a codebook. A vector is quantised by several codes, its entries of `Latent.codes`:
one for each level (which quantises what the levels before it left) and each group (a part of the vector).

Shapes: B samples, N vectors of a batch on all devices, D dimensions of a vector, ``positions`` those of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

from aeframe.devices import gather_rows
from aeframe.errors import AeframeError
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.latents.quantized.codebook import Codebook
from aeframe.parts.networks.head import Head
from aeframe.tensors import broadcast_mask, per_sample
from aeframe.types import Latent, Shape


class TokenProjection(nn.Module):
    """Project features ``(B, C, *positions)`` linearly to vectors ``(B, *positions, D)``.

    Features with positions yield one vector at each position, flat features ``(B, C)`` yield `tokens` vectors. The
    vectors are at least float32, because half precision does not separate nearby codes.
    """

    def __init__(self, feature_shape: Shape, dim: int, tokens: int) -> None:
        super().__init__()
        if dim < 1 or tokens < 1:
            raise AeframeError(f"a quantised latent needs dim and tokens of at least 1, found {dim} and {tokens}")
        positions = feature_shape[1:] or (tokens,)
        self.flat = len(feature_shape) == 1
        groups = (tokens,) * dim if self.flat else None
        self.head = Head(feature_shape, tokens * dim if self.flat else dim, spatial=not self.flat, groups=groups)
        self.shape: Shape = (dim, *positions)

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.head(features)
        vectors = (projected.unflatten(1, self.shape) if self.flat else projected).movedim(1, -1)
        return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


class Quantized(LatentSpace):
    """Vectors replaced by codes of codebooks, or by sums of codes.

    Each vector is split into `num_groups` equal parts. Each part is approximated by the sum of one code per level, and
    every level quantises the residual of the levels before it. Level ``l`` of group ``g`` is entry
    ``l * num_groups + g`` of ``Latent.codes``. To decode the first n levels only, set
    ``codes[..., n * num_groups:] = -1``: `from_codes` reads -1 as a vector of zeros.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Number D of dimensions of a vector, of all groups together.
        tokens: Number of vectors of each sample when the features are flat.
        codebooks: One for each entry of a position's codes; a shorter list is cycled.
        num_levels: Number of entries of a position's codes, which is the number of levels times `num_groups`.
        num_groups: Number of parts of a vector.
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
        self.tokens = TokenProjection(feature_shape, dim, tokens)
        self.shape = self.tokens.shape
        self.codebooks = nn.ModuleList(codebooks)
        self.num_codes, self.num_levels, self.num_groups = codebooks[0].size, num_levels, num_groups

    def prepare(self, vectors: Tensor) -> Tensor:
        """Return the vectors ``(B, *positions, D)`` to quantise; the gradient of z flows back through them."""
        return vectors

    def terms(self, residual: Tensor, quantized: Tensor) -> dict[str, Tensor]:
        """Return the loss terms ``(B,)`` of one level and group; `forward` sums them over levels and groups."""
        terms = {"commitment": per_sample((residual - quantized.detach()).square())}
        if self.codebooks[0].learned:
            terms["codebook"] = per_sample((residual.detach() - quantized).square())
        return terms

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        vectors = self.prepare(self.tokens(features))
        # A forward pass without gradients (of a critic, of a recomputed layer) must not change a codebook.
        update = self.training and torch.is_grad_enabled() and not vectors.is_meta
        # What each codebook quantised, and the residual of each group.
        observed: list[list[_Observed]] = [[] for _ in self.codebooks]
        num_kept, residuals = self._num_kept_levels(vectors), list(vectors.chunk(self.num_groups, -1))
        codes: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        for entry in range(self.num_levels):
            index, level, group = entry % len(self.codebooks), entry // self.num_groups, entry % self.num_groups
            codebook, residual = self._codebook(entry), residuals[group]
            # Which samples keep this level.
            kept = None if num_kept is None else num_kept > level
            if update and not codebook.is_initialized:
                _initialize(codebook, residual.detach(), kept)
            nearest = codebook.nearest(residual.detach())
            quantized = codebook(nearest)
            if update and codebook.updated:
                observed[index].append(_observed(residual.detach(), nearest, kept))
            for name, value in self.terms(residual, quantized).items():
                terms[name] = terms.get(name, 0.0) + (value if kept is None else value * kept)
            residuals[group] = residual - quantized.detach()
            codes.append(nearest if kept is None else nearest.masked_fill(~broadcast_mask(kept, nearest.ndim), -1))
        stacked = torch.stack(codes, -1)
        z = _with_gradient_of(
            vectors,
            self.from_codes(stacked).movedim(1, -1).detach(),
            rotate=self.rotation_trick and self.training,
        ).movedim(-1, 1)
        # Update after all look-ups, so that a codebook shared by several levels does not depend on their order.
        for index, by_entry in enumerate(observed):
            if by_entry:
                self._codebook(index).ema_update(*_concatenated(by_entry))
        return Latent(z, z, codes=stacked, terms=terms)

    def from_codes(self, codes: Tensor) -> Tensor:
        vectors = [
            self._codebook(entry)(indices.clamp(min=0)).masked_fill((indices < 0).unsqueeze(-1), 0)
            for entry, indices in enumerate(codes.unbind(-1))
        ]
        groups = [reduce(torch.add, vectors[group :: self.num_groups]) for group in range(self.num_groups)]
        return torch.cat(groups, -1).movedim(-1, 1).to(self.tokens.head.linear.weight.dtype)

    def _codebook(self, entry: int) -> Codebook:
        codebook = self.codebooks[entry % len(self.codebooks)]
        assert isinstance(codebook, Codebook)
        return codebook

    def _num_kept_levels(self, vectors: Tensor) -> Tensor | None:
        """Return how many levels each sample keeps ``(B,)``; None if all. Quantiser dropout removes the last levels."""
        num = self.num_levels // self.num_groups
        if not self.training or not self.quantizer_dropout or num == 1:
            return None
        dropped = torch.rand(len(vectors), device=vectors.device) < self.quantizer_dropout
        num_kept = torch.randint(1, num + 1, (len(vectors),), device=vectors.device)
        return torch.where(dropped, num_kept, num)


class _Observed(NamedTuple):
    """The vectors of all devices that one level and group quantised, and their codes."""

    vectors: Tensor
    """``(N, D)``."""
    codes: Tensor
    """``(N,)``."""
    counted: Tensor | None
    """``(N,)`` bool: vectors of samples that keep this level; None where all do."""


def _observed(residual: Tensor, codes: Tensor, kept: Tensor | None) -> _Observed:
    """Gather residuals ``(B, *positions, D)``, codes ``(B, *positions)`` and kept samples ``(B,)`` of all devices."""
    counted = None if kept is None else broadcast_mask(kept, codes.ndim).expand_as(codes).flatten()
    return _Observed(
        gather_rows(residual.flatten(0, -2)),
        gather_rows(codes.flatten()),
        None if counted is None else gather_rows(counted),
    )


def _concatenated(observed: Sequence[_Observed]) -> _Observed:
    """Return the vectors and codes of several levels and groups as one."""
    counted = [entry.counted for entry in observed if entry.counted is not None]
    return _Observed(
        torch.cat([entry.vectors for entry in observed]),
        torch.cat([entry.codes for entry in observed]),
        torch.cat(counted) if counted else None,
    )


def _initialize(codebook: Codebook, residual: Tensor, kept: Tensor | None) -> None:
    """Initialise a codebook from the vectors of all devices, unless no sample keeps its level."""
    # There are no codes yet; the second argument only has their shape.
    vectors, _, counted = _observed(residual, residual[..., 0], kept)
    rows = vectors if counted is None else vectors[counted]
    if len(rows):
        codebook.initialize(rows)


def _with_gradient_of(vectors: Tensor, quantized: Tensor, *, rotate: bool) -> Tensor:
    """Return the value of `quantized` with a gradient to `vectors`: copied, or rotated and scaled."""
    if rotate:
        rotated: Tensor = rotate_to(vectors, quantized)
        return rotated
    # Not v + (q - v), whose rounding would move z off its code.
    return quantized + (vectors - vectors.detach())
