"""The nearest of many codes, without the matrix of all distances."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.parts.latents.base import LatentSpace

_MAX_DISTANCES = 1 << 21
"""Distances that are computed at a time: 8 MiB in 32 bits."""


def nearest_codes(
    latent: LatentSpace, queries: Tensor, codes: Tensor, k: int, *, max_distances: int = _MAX_DISTANCES
) -> tuple[Tensor, Tensor]:
    """Return the distances ``(B, k)`` to the k nearest codes, in ascending order, and the rows ``(B, k)`` of these.

    The codes are compared block by block, so that memory does not grow with B times M.

    Args:
        latent: The latent space, whose `distances` are compared.
        queries: Codes ``(B, *shape)``.
        codes: The codes that are searched, ``(M, *shape)``.
        k: The number of codes for each query, at most M.
        max_distances: The number of distances that are in memory at a time, at least; a block has one code or more.
    """
    size = max(1, max_distances // max(1, len(queries)))
    distance = rows = torch.empty(0)
    for start in range(0, len(codes), size):
        block = latent.distances(queries, codes[start : start + size])
        found, places = block.topk(min(k, block.shape[1]), largest=False)
        places += start
        if start:
            found, places = torch.cat([distance, found], 1), torch.cat([rows, places], 1)
            found, chosen = found.topk(min(k, found.shape[1]), largest=False)
            places = places.gather(1, chosen)
        distance, rows = found, places
    return distance, rows
