"""The way from one code to another."""

from __future__ import annotations

import torch
from torch import Tensor


def line(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Return the straight line between codes, both ends included: ``(B, *z)`` twice -> ``(B, steps, *z)``.

    Straight, also for Gaussian posteriors: a walk along the sphere (White 2016, arXiv 1609.04468) is for codes drawn
    from the prior, which all lie at much the same distance from the origin. The means of two posteriors do not, and
    a point code has no sphere at all; a straight line begins and ends at the two samples in every space.
    """
    weight = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    weight = weight.reshape(1, steps, *[1] * (start.ndim - 1))
    return torch.lerp(start.unsqueeze(1), end.unsqueeze(1), weight)
