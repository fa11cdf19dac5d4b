"""Sentences pushed together, so that a network meets their tokens first and padding last."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.types import Batch


def packed(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the tokens that the mask counts, in order and from the first place on, and how many there are.

    ``x (B, T)`` gives ``(B, T)``, 0 behind the last, and ``(B,)``. Where the mask hides the end only, x stays as it is.
    """
    x = batch.masked_x().long()
    if batch.mask is None:
        return x, x.new_full((len(x),), x.shape[1])
    order = (~batch.mask).to(torch.uint8).argsort(dim=1, stable=True)
    return x.gather(1, order), batch.mask.sum(1)


def turned(value: Tensor, lengths: Tensor) -> Tensor:
    """Return sequences ``(B, T, D)`` from last to first, each within its own length; what is behind stays."""
    places = torch.arange(value.shape[1], device=value.device)
    back = lengths.unsqueeze(1) - 1 - places
    at = torch.where(back >= 0, back, places)
    return value.gather(1, at.unsqueeze(2).expand_as(value))
