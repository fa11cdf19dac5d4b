"""The path from one code to another, and from one condition to another."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.parts.latents.base import LatentSpace


def interpolate_codes(latent: LatentSpace, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Return the codes from `start` to `end`, both included: ``(B, *z)`` twice -> ``(B, steps, *z)``.

    The path is the latent's `geodesic`: a great circle on the sphere, a geodesic of the Poincaré ball, a straight line
    elsewhere. Straight, also for Gaussian posteriors: spherical interpolation (White 2016, arXiv 1609.04468) is for
    codes drawn from the prior, which all lie at much the same distance from the origin. The means of two posteriors do
    not.
    """
    weight = _weights(start, steps)
    path = latent.geodesic(start.unsqueeze(1), end.unsqueeze(1), weight).to(start.dtype)
    # Rounding moves the ends of a curved path by a little.
    return torch.cat([start.unsqueeze(1), path[:, 1:-1], end.unsqueeze(1)], dim=1)


def interpolate_condition(start: Tensor | None, end: Tensor | None, steps: int) -> Tensor | None:
    """Return the conditions on the straight line from `start` to `end`: ``(B, C)`` twice -> ``(B, steps, C)``."""
    if start is None or end is None:
        return None
    return torch.lerp(start.unsqueeze(1), end.unsqueeze(1), _weights(start, steps))


def _weights(like: Tensor, steps: int) -> Tensor:
    weight = torch.linspace(0, 1, steps, dtype=like.dtype, device=like.device)
    return weight.reshape(1, steps, *[1] * (like.ndim - 1))
