"""`L0Controller`: a number that a controller sets so that a target number of features is active."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.devices import num_rows, sum_over_batch

_LARGEST_ERROR = 1.0
"""Errors are clipped to this size, so that a few batches without active features do not move the level far off."""


class L0Controller(nn.Module):
    """A number, the level, that rises while L0, the mean number of active features of a sample, is above `target`.

    For each training batch of all devices, the error log(L0 / target) times `rate` is added to the level. A dictionary
    makes features less active with a higher level. As the logarithm of the weight of a term, the level is a Lagrange
    multiplier with the multiplicative update of Rezende & Viola 2018 (arXiv 1810.00597). It is a buffer, equal on all
    devices, and no value is copied to the host.

    Args:
        target: L0 to reach.
        rate: Change of the level per batch, for an error of 1.
    """

    level: Tensor
    """``()``; 0 before the first batch."""

    def __init__(self, target: float, rate: float) -> None:
        super().__init__()
        self.target, self.rate = target, rate
        self.register_buffer("level", torch.zeros(()))

    @torch.no_grad()
    def update(self, active: Tensor) -> Tensor:
        """Update the level by a training batch, and return the error ``()`` of its L0.

        Args:
            active: ``(B, D)`` bool, the features that are active.
        """
        l0 = sum_over_batch(active.sum()) / num_rows(len(active))
        error = (l0 / self.target).log().clamp(-_LARGEST_ERROR, _LARGEST_ERROR)
        self.level += self.rate * error
        return error
