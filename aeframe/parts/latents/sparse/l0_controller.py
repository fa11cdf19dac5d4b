"""`L0Controller`: a number that a controller sets so that a target number of features is active."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.devices import num_rows, sum_over_batch
from aeframe.errors import AeframeError
from aeframe.parts.schedules import Schedule

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


def check_sparsity(latent: str, target_l0: float | None, sparsity: Schedule | None, dim: int) -> None:
    """Raise an error unless exactly one of the options `target_l0` and `sparsity` is set, and can be reached.

    Args:
        latent: The registered name of the latent.
        target_l0: The option, or None.
        sparsity: The option, or None.
        dim: Number of features.
    """
    if target_l0 is None and sparsity is None:
        raise AeframeError(f"latent {latent} needs target_l0 or sparsity, found neither; set latent.target_l0=32")
    if target_l0 is not None and sparsity is not None:
        raise AeframeError(
            f"latent {latent} has target_l0={target_l0:g}, which sets the weight of its term sparsity, and also the "
            "option sparsity; set latent.target_l0=null to use latent.sparsity"
        )
    if target_l0 is not None and not 0 < target_l0 < dim:
        raise AeframeError(
            f"latent {latent} needs target_l0 above 0 and below dim={dim}, found {target_l0:g}; set latent.target_l0 "
            "or latent.dim"
        )
