"""`Pyramid`, the base class of convolutional hierarchies: groups and encoder features at several resolutions.

A group is a set of latent variables at the positions of one resolution. A hidden state goes through the groups from the
top down: from the coarsest resolution to the finest.

Shapes: B samples, ``positions`` (T,), (H, W) or (D, H, W); flat features ``(C,)`` are channels at one position.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from aeframe.parts.latents.hierarchy.base import Group, Hierarchy, check_positive
from aeframe.parts.networks.blocks import check_positions, convolution, halved_sizes
from aeframe.types import Shape


class Pyramid(Hierarchy):
    """Groups at several resolutions, from the coarsest to that of the features, each twice as fine as the one before.

    The hidden state has `width` channels, at the positions of the present group. The bottom-up path halves the features
    by convolutions of stride 2, for any size, with one `cell` at each resolution.

    Args:
        who: The latent's name, for error messages.
        feature_shape: ``(C, *positions)``.
        scales: Number of groups at each resolution, coarsest first.
        width: Number of channels of the hidden state and of the encoder features of each group.
        cell: Makes a network that maps ``(B, width, *positions)`` to the same shape, given the number of dimensions of
            the positions.
        group: Makes a group, given the positions of the group above (None for the top group) and its own.
    """

    def __init__(
        self,
        who: str,
        feature_shape: Shape,
        *,
        scales: tuple[int, ...],
        width: int,
        cell: Callable[[int], nn.Module],
        group: Callable[[Shape | None, Shape], Group],
    ) -> None:
        channels, *rest = feature_shape
        check_positions(f"encoder before latent {who}", tuple(rest) or (1,))
        check_positive(who, scales=scales)
        # The positions of each resolution, coarsest first, and of each group.
        sizes = halved_sizes(tuple(rest) or (1,), len(scales) - 1)[::-1]
        by_group = [size for size, num in zip(sizes, scales, strict=True) for _ in range(num)]
        pairs = itertools.pairwise((None, *by_group))
        # Only the first `above` is None; the condition is for the type checker.
        groups = [group(above, size) for above, size in pairs if size is not None]
        super().__init__(groups, (width, *rest))
        self.scales = scales
        num_dims = len(sizes[0])
        self.start = nn.Parameter(torch.zeros(width, *sizes[0]))
        self.enter = convolution(num_dims, channels, width, 1)
        self.cells = nn.ModuleList([cell(num_dims) for _ in scales])
        self.halve = nn.ModuleList([convolution(num_dims, width, width, 3, stride=2) for _ in scales[1:]])

    def bottom_up(self, features: Tensor) -> list[Tensor]:
        # Flat features ``(B, C)`` become channels at one position.
        x = self.enter(features.unflatten(1, (-1, 1)) if features.ndim == 2 else features)
        levels = [self.cells[0](x)]
        for halve, cell in zip(self.halve, self.cells[1:], strict=True):
            levels.append(cell(halve(levels[-1])))
        # Groups of the same resolution share its features.
        return [level for level, num in zip(reversed(levels), self.scales, strict=True) for _ in range(num)]
