"""Interpolation between codes and between conditions."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.latents.base import LatentSpace


def check_pairs(who: str, num_start: int, num_end: int, steps: int) -> None:
    """Raise an error for numbers of samples that form no pairs, or too few steps; `who` names the model."""
    if num_start != num_end:
        raise AeframeError(f"{who} interpolates between pairs, found {num_start} and {num_end} samples")
    if steps < 2:
        raise AeframeError(f"{who} interpolates in at least 2 steps, found {steps}")


def interpolate(
    latent: LatentSpace, codes: tuple[Tensor, Tensor], conditions: tuple[Tensor | None, Tensor | None], steps: int
) -> tuple[Tensor, Tensor | None]:
    """Return codes ``(B * steps, *z_shape)`` and conditions ``(B * steps, C)`` between those of B pairs.

    See `interpolate_codes` and `interpolate_condition`.
    """
    start, end = conditions
    if start is not None and end is not None:
        end = end.to(start.device)
    condition = interpolate_condition(start, end, steps)
    path = interpolate_codes(latent, *codes, steps)
    return path.flatten(0, 1), None if condition is None else condition.flatten(0, 1)


def interpolate_codes(latent: LatentSpace, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Interpolate from `start` to `end`, both included: ``(B, *z_shape)`` twice -> ``(B, steps, *z_shape)``.

    The path is the latent's `geodesic`: a great circle on the sphere, a geodesic of the Poincaré ball, otherwise a
    straight line. Spherical interpolation (White 2016, arXiv 1609.04468) is for samples of a Gaussian prior, which have
    nearly the same norm; posterior means do not, so their path is straight.
    """
    weight = _weights(start, steps)
    path = latent.geodesic(start.unsqueeze(1), end.unsqueeze(1), weight).to(start.dtype)
    # Replace the ends of a curved path, which differ from `start` and `end` by rounding.
    return torch.cat([start.unsqueeze(1), path[:, 1:-1], end.unsqueeze(1)], dim=1)


def interpolate_condition(start: Tensor | None, end: Tensor | None, steps: int) -> Tensor | None:
    """Interpolate linearly from `start` to `end`: ``(B, C)`` twice -> ``(B, steps, C)``; None without a condition."""
    if start is None or end is None:
        return None
    return torch.lerp(start.unsqueeze(1), end.unsqueeze(1), _weights(start, steps))


def _weights(like: Tensor, steps: int) -> Tensor:
    """Return the weights of the end points from 0 to 1, ``(1, steps, 1, ...)``, with a dimension more than `like`."""
    weight = torch.linspace(0, 1, steps, dtype=like.dtype, device=like.device)
    return weight.reshape(1, steps, *[1] * (like.ndim - 1))
