"""Corruptions that hide patches, blocks or spans of positions, for models that learn to fill them in.

Shapes: B samples; C channels; ``positions``: the sizes of the spatial axes, (T,), (H, W) or (D, H, W); K visible
patches.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.corruptions import Corruption
from aeframe.parts.patches import Patch, patch_grid, positions_of
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Domain, Shape


class _PositionMask(Corruption):
    """Hide positions, in all channels alike.

    The encoder's input has `value` at hidden positions, and its mask is False there. ``extras["hidden"] (B, *shape)``
    is True at hidden positions.

    Arguments are those of the subclasses, and `who`: kind and name of the corruption, for error messages.
    """

    # Without mixed: the elements of such a sample are no positions; corruption elements hides them.
    domains = Corruption.domains | {"category"}
    by_position = True
    hides = True

    def __init__(
        self, who: str, shape: Shape, domain: Domain, *, ratio: float, value: float, in_evaluation: bool
    ) -> None:
        super().__init__()
        if not 0 <= ratio < 1:
            raise AeframeError(f"{who} needs ratio in [0, 1), found {ratio}")
        self.positions = positions_of(who, shape, domain, "model=dae corruption=elements")
        self.value, self.in_evaluation = value, in_evaluation

    def sample_hidden(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a mask of what is hidden, broadcastable to ``(num, *positions)``, and further entries of extras."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Batch:
        x = batch.x
        hidden, extras = self.sample_hidden(len(batch), x.device)
        has_channels = x.ndim > len(self.positions) + 1
        hidden = (hidden.unsqueeze(1) if has_channels else hidden).expand_as(x)
        mask = ~hidden if batch.mask is None else broadcast_mask(batch.mask, x.ndim) & ~hidden
        extras = {**batch.extras, **extras, "hidden": hidden}
        return replace(batch, x=x.masked_fill(hidden, self.value), mask=mask, extras=extras)


class PatchMasking(_PositionMask):
    """Hide a random fraction of the patches, equally many in each sample (He et al. 2022, arXiv 2111.06377).

    ``extras["visible"] (B, K)`` has the indices of the visible patches in ascending order, so that a transformer can
    skip the hidden ones.

    Args:
        shape: ``(C, *positions)`` with one to three spatial axes, or ``(T,)`` for classes.
        domain: The set of values that x can take.
        patch: Positions of a patch along each axis, or one number for all; it must divide the sizes of the axes.
        ratio: The fraction to hide, in [0, 1), rounded to whole patches; at least one stays visible.
        value: Value of x at hidden positions.
        in_evaluation: Whether validation and test samples are masked too.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        patch: Patch = 4,
        ratio: float = 0.75,
        value: float = 0.0,
        in_evaluation: bool = True,
    ) -> None:
        super().__init__("corruption patches", shape, domain, ratio=ratio, value=value, in_evaluation=in_evaluation)
        self.grid, self.patch = patch_grid("corruption patches", self.positions, patch)
        self.num_patches = math.prod(self.grid)
        self.num_visible = max(1, self.num_patches - round(ratio * self.num_patches))

    def sample_hidden(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        # A random permutation of the patches for each sample, of which the first are visible.
        order = torch.rand(num, self.num_patches, device=device).argsort(1)
        visible = order[:, : self.num_visible].sort(1).values
        hidden = torch.ones_like(order, dtype=torch.bool).scatter(1, visible, False).unflatten(1, self.grid)
        for dim, size in enumerate(self.patch, start=1):
            hidden = hidden.repeat_interleave(size, dim)
        return hidden, {"visible": visible}


class BlockMasking(_PositionMask):
    """Hide one block in each sample, for inpainting (Pathak et al. 2016, arXiv 1604.07379).

    The block is an interval, a rectangle or a box with the proportions of the sample, at a uniformly random place.

    Args:
        shape: ``(C, *positions)`` with one to three spatial axes, or ``(T,)`` for classes.
        domain: The set of values that x can take.
        ratio: The fraction of the positions to hide, in [0, 1); each side is rounded to whole positions.
        value: Value of x at hidden positions.
        in_evaluation: Whether validation and test samples are masked too.
    """

    def __init__(
        self, shape: Shape, domain: Domain, *, ratio: float = 0.25, value: float = 0.0, in_evaluation: bool = False
    ) -> None:
        super().__init__("corruption blocks", shape, domain, ratio=ratio, value=value, in_evaluation=in_evaluation)
        self.sides = [round(n * ratio ** (1 / len(self.positions))) for n in self.positions]

    def sample_hidden(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        starts = torch.rand(num, len(self.sides), device=device).unbind(1)
        hidden = torch.ones(num, *[1] * len(self.sides), dtype=torch.bool, device=device)
        for dim, (n, side, start) in enumerate(zip(self.positions, self.sides, starts, strict=True), start=1):
            inside = _interval_mask((start * (n - side + 1)).long(), side, n)
            hidden = hidden & _at_dimension(inside, dim, hidden.ndim)
        return hidden, {}


class SpanMasking(_PositionMask):
    """Hide spans of positions along one axis, such as parts of a sound, a text or a time series.

    All spans have the same length and do not overlap, so each sample has the same hidden fraction; all arrangements
    have equal probability. In wav2vec 2.0 (Baevski et al. 2020, arXiv 2006.11477) spans overlap and the fraction
    varies.

    Args:
        shape: ``(C, *positions)`` with one to three spatial axes, or ``(T,)`` for classes.
        domain: The set of values that x can take.
        ratio: The fraction of the positions to hide, in [0, 1), rounded to whole spans.
        length: Positions of a span, at most the number of positions to hide.
        axis: The axis of the spans among the spatial axes, counted from the first (0, 1, 2) or the last (-1, -2, -3).
        value: Value of x at hidden positions.
        in_evaluation: Whether validation and test samples are masked too.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        ratio: float = 0.3,
        length: int = 10,
        axis: int = -1,
        value: float = 0.0,
        in_evaluation: bool = False,
    ) -> None:
        super().__init__("corruption spans", shape, domain, ratio=ratio, value=value, in_evaluation=in_evaluation)
        dims = len(self.positions)
        if length < 1 or not -dims <= axis < dims:
            raise AeframeError(
                f"corruption spans needs length of at least 1 and axis in [-{dims}, {dims - 1}], "
                f"found {length} and {axis}"
            )
        # n positions along the axis.
        self.axis, self.n = axis % dims, self.positions[axis]
        self.length = min(length, max(1, round(ratio * self.n)))
        self.num_spans = min(round(ratio * self.n / self.length), (self.n - 1) // self.length)

    def sample_hidden(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        # Choose distinct starts in a shorter sequence, in which each span has one position, and then expand the spans.
        order = torch.rand(num, self.n - self.num_spans * (self.length - 1), device=device).argsort(1)
        starts = order[:, : self.num_spans].sort(1).values
        starts = starts + torch.arange(self.num_spans, device=device) * (self.length - 1)
        hidden = _interval_mask(starts, self.length, self.n).any(1)
        return _at_dimension(hidden, self.axis + 1, len(self.positions) + 1), {}


def _interval_mask(start: Tensor, length: int, n: int) -> Tensor:
    """Return a mask ``(*start.shape, n)`` that is True at the `length` positions from each `start` on."""
    offset = torch.arange(n, device=start.device) - start.unsqueeze(-1)
    return (offset >= 0) & (offset < length)


def _at_dimension(value: Tensor, dim: int, ndim: int) -> Tensor:
    """Reshape ``(B, n)`` to `ndim` dimensions, with n at dimension `dim` and size 1 elsewhere."""
    return value.reshape(value.shape[0], *[1] * (dim - 1), value.shape[1], *[1] * (ndim - dim - 1))


__all__ = ["BlockMasking", "PatchMasking", "SpanMasking"]
