"""Initial weights of transposed convolutions that draw no lattice on flat areas."""

from __future__ import annotations

import torch
from torch import nn

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


@torch.no_grad()
def equalise_phases(layer: Transposed) -> Transposed:
    """Copy the initial weights of one phase of the kernel to all others, and return the layer.

    With stride s, outputs whose positions are equal modulo s (one phase) are sums over the same weights, every s-th of
    the kernel. Independent weights have another sum in each phase. A flat area then has a lattice of period s, which n
    such layers extend to s^n, and which training removes slowly. With equal weights the layer is at first an upsampling
    by nearest neighbours after a convolution (ICNR: Aitken et al. 2017, arXiv 1707.02937), and a constant input has a
    constant output, away from the borders. The variance of weights and outputs stays the same.

    Args:
        layer: A layer whose kernel is a multiple of its stride along each axis.
    """
    # (in, out, k1, k2, ...) -> (in, out, k1 / s1, s1, k2 / s2, s2, ...): weights of one phase, and phases, per axis.
    split = [size for k, s in zip(layer.kernel_size, layer.stride, strict=True) for size in (k // s, s)]
    by_phase = layer.weight.reshape(*layer.weight.shape[:2], *split)
    for axis in range(3, by_phase.ndim, 2):
        by_phase = by_phase.narrow(axis, 0, 1).expand_as(by_phase)
    layer.weight.copy_(by_phase.reshape(layer.weight.shape))
    return layer
