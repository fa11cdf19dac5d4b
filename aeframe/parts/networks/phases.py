"""Initial weights of transposed convolutions that draw no lattice on flat areas."""

from __future__ import annotations

import math

import torch
from torch import nn

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


@torch.no_grad()
def equalise_phases(layer: Transposed) -> Transposed:
    """Change the initial weights so that a constant input has a constant output, away from the borders.

    With stride s, outputs whose positions are equal modulo s (one phase) are sums over the same weights, every s-th of
    the kernel. Independent weights have another sum in each phase. A flat area then has a lattice of period s, which n
    such layers extend to s^n, and which training removes slowly. Each weight w becomes
    ``w - mean of its phase + sqrt(phases) * mean of the kernel``. The sums of all phases are then equal, and weights
    and sums keep their variances. In ICNR (Aitken et al. 2017, arXiv 1707.02937) the phases have equal weights, here
    only equal sums, so that the initial outputs of neighbouring positions differ on all other inputs.

    Args:
        layer: A layer with independent weights of mean 0, whose kernel is a multiple of its stride along each axis.

    Returns:
        The layer.
    """
    weight = layer.weight
    num_dims = len(layer.stride)
    # (in, out, k1, k2, ...) -> (in, out, k1 / s1, s1, k2 / s2, s2, ...): weights of one phase, and phases, per axis.
    split = [size for k, s in zip(layer.kernel_size, layer.stride, strict=True) for size in (k // s, s)]
    by_phase = weight.reshape(*weight.shape[:2], *split)
    phase_mean = by_phase.mean(tuple(range(2, 2 + 2 * num_dims, 2)), keepdim=True)
    mean = by_phase.mean(tuple(range(2, 2 + 2 * num_dims)), keepdim=True)
    weight.copy_((by_phase - phase_mean + math.sqrt(math.prod(layer.stride)) * mean).reshape(weight.shape))
    return layer
