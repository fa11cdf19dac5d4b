"""Masks: corruptions that hide whole stretches of x, and say which, so that a model can learn to fill them in."""

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


class _Mask(Corruption):
    """Hide positions, the same in every channel.

    The encoder sees x with `value` there, and a mask that does not count them; ``extras["hidden"] (B, *shape)`` is
    True where x was hidden. With `in_evaluation` held-out samples are masked too.
    """

    domains = Corruption.domains | {"category"}

    def __init__(
        self, who: str, shape: Shape, domain: Domain, *, ratio: float, value: float, in_evaluation: bool
    ) -> None:
        super().__init__()
        if not 0 <= ratio < 1:
            raise AeframeError(f"{who} needs ratio in [0, 1), found {ratio}")
        self.positions = positions_of(who, shape, domain, "corruption=masking, and encoder=mlp if it is not")
        self.value, self.in_evaluation = value, in_evaluation

    def draw(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is hidden, ``(num, *positions)`` or to be broadcast to it, and what else to put into extras."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Batch:
        x = batch.x
        positions, extras = self.draw(len(batch), x.device)
        if x.ndim > len(self.positions) + 1:
            positions = positions.unsqueeze(1)
        hidden = positions.expand_as(x)
        mask = ~hidden if batch.mask is None else broadcast_mask(batch.mask, x.ndim) & ~hidden
        extras = {**batch.extras, **extras, "hidden": hidden}
        return replace(batch, x=x.masked_fill(hidden, self.value), mask=mask, extras=extras)


class PatchMasking(_Mask):
    """Hide a fraction of the patches, the same number in each sample (He et al. 2022, arXiv 2111.06377).

    Which ones is drawn for each sample, every choice being as likely. Besides what it hides it says what it leaves:
    ``extras["visible"] (B, K)``, the numbers of the visible patches in the order of the positions, so that a
    transformer can leave the others out.

    Args:
        shape: ``(C, *positions)`` with one to three dimensions of positions, or ``(T,)`` for classes.
        domain: Says whether values are classes.
        patch: Positions of a patch along each dimension, or one number for all; it must divide them.
        ratio: The fraction to hide, in [0, 1), rounded to whole patches; one stays visible in any case.
        value: What stands in x where it is hidden.
        in_evaluation: Mask held-out samples too, since to fill in is all that such a model learns.
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

    def draw(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        order = torch.rand(num, self.num_patches, device=device).argsort(1)
        visible = order[:, : self.num_visible].sort(1).values
        hidden = torch.ones_like(order, dtype=torch.bool).scatter(1, visible, False).unflatten(1, self.grid)
        for dim, size in enumerate(self.patch, start=1):
            hidden = hidden.repeat_interleave(size, dim)
        return hidden, {"visible": visible}


class BlockMasking(_Mask):
    """Hide one rectangle in each sample, as for inpainting (Pathak et al. 2016, arXiv 1604.07379).

    It has the proportions of the positions (a box in three dimensions, a run in one) and lies anywhere, each place
    being as likely.

    Args:
        shape: ``(C, *positions)`` with one to three dimensions of positions, or ``(T,)`` for classes.
        domain: Says whether values are classes.
        ratio: The fraction of the positions to hide, in [0, 1); each side is rounded to whole positions.
        value: What stands in x where it is hidden.
        in_evaluation: Mask held-out samples too.
    """

    def __init__(
        self, shape: Shape, domain: Domain, *, ratio: float = 0.25, value: float = 0.0, in_evaluation: bool = False
    ) -> None:
        super().__init__("corruption blocks", shape, domain, ratio=ratio, value=value, in_evaluation=in_evaluation)
        self.sides = [round(n * ratio ** (1 / len(self.positions))) for n in self.positions]

    def draw(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        places = torch.rand(num, len(self.sides), device=device).unbind(1)
        hidden = torch.ones(num, *[1] * len(self.sides), dtype=torch.bool, device=device)
        for dim, (n, side, place) in enumerate(zip(self.positions, self.sides, places, strict=True), start=1):
            inside = _within((place * (n - side + 1)).long(), side, n)
            hidden = hidden & _along(inside, dim, hidden.ndim)
        return hidden, {}


class SpanMasking(_Mask):
    """Hide runs of positions along one dimension, at all places of the others: stretches of sound, text or a series.

    All runs have one length and none overlaps another, so the fraction is the same in each sample; every way to lay
    them is as likely. wav2vec 2.0 (Baevski et al. 2020, arXiv 2006.11477) lets them overlap, where it varies.

    Args:
        shape: ``(C, *positions)`` with one to three dimensions of positions, or ``(T,)`` for classes.
        domain: Says whether values are classes.
        ratio: The fraction of the positions to hide, in [0, 1), rounded to whole runs.
        length: Positions of a run; one that is longer than what shall be hidden is cut to that.
        axis: Along which dimension of the positions, counted from the first (0, 1, 2) or the last (-1, -2, -3).
        value: What stands in x where it is hidden.
        in_evaluation: Mask held-out samples too.
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
        self.axis, self.n = axis % dims, self.positions[axis]
        self.length = min(length, max(1, round(ratio * self.n)))
        self.num_spans = min(round(ratio * self.n / self.length), (self.n - 1) // self.length)

    def draw(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        # Runs shrunk to single places among those that stay are a plain choice; growing them again parts them.
        places = torch.rand(num, self.n - self.num_spans * (self.length - 1), device=device).argsort(1)
        starts = places[:, : self.num_spans].sort(1).values
        starts = starts + torch.arange(self.num_spans, device=device) * (self.length - 1)
        hidden = _within(starts, self.length, self.n).any(1)
        return _along(hidden, self.axis + 1, len(self.positions) + 1), {}


def _within(start: Tensor, length: int, n: int) -> Tensor:
    """Return ``(*start.shape, n)``, True from `start` on for `length` positions of n."""
    after = torch.arange(n, device=start.device) - start.unsqueeze(-1)
    return (after >= 0) & (after < length)


def _along(value: Tensor, dim: int, ndim: int) -> Tensor:
    """Return ``(B, n)`` as a tensor of `ndim` dimensions, with n at `dim` and 1 at the others."""
    return value.reshape(len(value), *[1] * (dim - 1), value.shape[1], *[1] * (ndim - dim - 1))


__all__ = ["BlockMasking", "PatchMasking", "SpanMasking"]
