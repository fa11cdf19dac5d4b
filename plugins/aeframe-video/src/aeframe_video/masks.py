"""Corruptions of clips: what is hidden in space, and what is hidden in time."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.masks import PatchMasking, SpanMasking
from aeframe.types import Domain, Shape


class TubeMasking(PatchMasking):
    """Hide a fraction of the patches, at the same places in every frame (Tong et al. 2022, arXiv 2203.12602).

    What is hidden in one frame cannot be copied from the next. ``extras`` has ``hidden``, and for a transformer
    ``visible``, as core's ``patches`` has; `encoder=vit` reads its patches of ``[frames, patch, patch]`` from here.

    Args:
        shape: ``(C, T, H, W)``.
        domain: Says whether values are classes.
        patch: Height and width of a patch; it must divide those of a frame.
        frames: Of one patch; it must divide those of a clip. Only a transformer sees a difference.
        ratio: The fraction of places to hide, in [0, 1), rounded to whole ones; one stays visible in any case.
        value: What stands in x where it is hidden.
        in_evaluation: Mask held-out clips too, since to fill in is all that such a model learns.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        patch: int = 4,
        frames: int = 2,
        ratio: float = 0.75,
        value: float = 0.0,
        in_evaluation: bool = True,
    ) -> None:
        check_clips("corruption tubes", shape, ratio)
        size = (frames, patch, patch)
        if min(size) < 1 or any(n % p for n, p in zip(shape[1:], size, strict=True)):
            raise AeframeError(
                f"corruption tubes needs frames and patch that divide those of a clip, {list(shape[1:])} (frames, "
                f"height, width), found frames={frames} and patch={patch}"
            )
        super().__init__(shape, domain, patch=size, ratio=ratio, value=value, in_evaluation=in_evaluation)
        self.num_places = math.prod(self.grid[1:])
        self.num_open = max(1, self.num_places - round(ratio * self.num_places))
        self.num_visible = self.num_open * self.grid[0]

    def sample_hidden(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        order = torch.rand(num, self.num_places, device=device).argsort(1)
        places = order[:, : self.num_open].sort(1).values
        hidden = torch.ones_like(order, dtype=torch.bool).scatter(1, places, False).unflatten(1, (1, *self.grid[1:]))
        for dim in (2, 3):
            hidden = hidden.repeat_interleave(self.patch[dim - 1], dim)
        times = self.num_places * torch.arange(self.grid[0], device=device)
        return hidden, {"visible": (times[:, None] + places[:, None, :]).flatten(1)}


class FrameMasking(SpanMasking):
    """Hide whole frames, as many in each clip.

    Args:
        shape: ``(C, T, H, W)``.
        domain: Says whether values are classes.
        ratio: The fraction of the frames to hide, in [0, 1), rounded to whole ones, or to whole runs.
        which: ``any``: runs of `length` frames anywhere, drawn for each clip; ``last``: the end of the clip, to be
            foretold; ``middle``: what lies between the first and the last ones, to be filled in.
        length: Frames of a run, of ``any``.
        value: What stands in x where it is hidden.
        in_evaluation: Mask held-out clips too.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        ratio: float = 0.5,
        which: Literal["any", "last", "middle"] = "any",
        length: int = 1,
        value: float = 0.0,
        in_evaluation: bool = True,
    ) -> None:
        check_clips("corruption frames", shape, ratio)
        if length < 1:
            raise AeframeError(f"corruption frames needs length of at least 1, found {length}")
        super().__init__(shape, domain, ratio=ratio, length=length, axis=0, value=value, in_evaluation=in_evaluation)
        self.which, self.num_hidden = which, min(round(ratio * self.n), self.n - 1)

    def sample_hidden(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        if self.which == "any":
            return super().sample_hidden(num, device)
        first = self.n - self.num_hidden
        first = first if self.which == "last" else first // 2
        place = torch.arange(self.n, device=device)
        hidden = (place >= first) & (place < first + self.num_hidden)
        return hidden.reshape(1, -1, 1, 1).expand(num, -1, 1, 1), {}


def check_clips(who: str, shape: Shape, ratio: float) -> None:
    """Refuse anything but clips ``(C, T, H, W)``, and a fraction that is none."""
    if len(shape) != 4:
        raise AeframeError(
            f"{who} needs clips (C, T, H, W), found the shape {shape}; choose corruption=patches or spans, which are "
            "for any"
        )
    if not 0 <= ratio < 1:
        raise AeframeError(f"{who} needs ratio in [0, 1), found {ratio}")
