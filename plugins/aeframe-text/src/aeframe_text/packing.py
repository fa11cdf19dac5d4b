"""Left-align the unmasked tokens of each sentence, and reverse sequences of unequal length."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.types import Batch


def pack_tokens(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the unmasked tokens of ``x (B, T)``, in order and left-aligned, as ``(B, T)``, and their number ``(B,)``.

    Positions after the last token are 0. Where only padding at the end is masked, the tokens keep their positions.
    """
    x = batch.masked_x().long()
    if batch.mask is None:
        return x, x.new_full((x.shape[0],), x.shape[1])
    kept = batch.mask.long()
    num_kept = kept.sum(1)
    # A permutation: the unmasked tokens first, each part in order. ONNX has no stable sort.
    places = torch.where(batch.mask, kept.cumsum(1) - 1, num_kept.unsqueeze(1) + (1 - kept).cumsum(1) - 1)
    return torch.zeros_like(x).scatter(1, places, x), num_kept


def reverse_sequences(values: Tensor, lengths: Tensor) -> Tensor:
    """Return sequences ``(B, T, D)`` with the first `lengths` ``(B,)`` positions reversed, and the rest unchanged."""
    positions = torch.arange(values.shape[1], device=values.device)
    reversed_positions = lengths.unsqueeze(1) - 1 - positions
    source = torch.where(reversed_positions >= 0, reversed_positions, positions)
    return values.gather(1, source.unsqueeze(2).expand_as(values))
