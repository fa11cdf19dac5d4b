"""The corruptions `tubes` and `frames`, which mask patches or whole frames of clips."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.masks import PatchMasking, SpanMasking
from aeframe.types import Domain, Shape


class TubeMasking(PatchMasking):
    """Mask random patches at the same positions in all frames (tube masking, Tong et al. 2022, arXiv 2203.12602).

    Masked pixels can therefore not be copied from neighbouring frames. A patch has ``frames x patch x patch`` pixels.
    As with `PatchMasking`, ``extras["hidden"]`` flags masked elements and ``extras["visible"]`` lists the numbers of
    the visible patches, which ``encoder=vit`` uses.

    Args:
        shape: ``(C, T, H, W)``.
        domain: Domain of the values.
        patch: Height and width of a patch; it must divide the height and width of a frame.
        frames: Number of frames of a patch; it must divide that of a clip. It only matters for a transformer.
        ratio: Fraction of the patches of a frame to mask, in [0, 1), rounded to a whole number; at least one remains
            visible.
        value: Replaces masked values of x.
        in_evaluation: Whether to mask held-out clips too. Metrics then include only the masked elements.
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
        _check_options("corruption tubes", shape, ratio)
        size = (frames, patch, patch)
        if min(size) < 1 or any(n % p for n, p in zip(shape[1:], size, strict=True)):
            raise AeframeError(
                "corruption tubes requires frames and patch that divide the shape of a clip, "
                f"{list(shape[1:])} (frames, height, width), found frames={frames} and patch={patch}"
            )
        super().__init__(shape, domain, patch=size, ratio=ratio, value=value, in_evaluation=in_evaluation)
        # `grid` is the number of patches along time, height and width. A position is that of a patch in a frame.
        self.num_positions = math.prod(self.grid[1:])
        self.num_visible_positions = max(1, self.num_positions - round(ratio * self.num_positions))
        self.num_visible = self.num_visible_positions * self.grid[0]

    def sample_hidden(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        order = torch.rand(num, self.num_positions, device=device).argsort(1)
        visible = order[:, : self.num_visible_positions].sort(1).values
        hidden = torch.ones_like(order, dtype=torch.bool).scatter(1, visible, False).unflatten(1, (1, *self.grid[1:]))
        for dim in (2, 3):
            hidden = hidden.repeat_interleave(self.patch[dim - 1], dim)
        # Patches are numbered in the order (time, height, width).
        first_of_time = self.num_positions * torch.arange(self.grid[0], device=device)
        return hidden, {"visible": (first_of_time[:, None] + visible[:, None, :]).flatten(1)}


class FrameMasking(SpanMasking):
    """Mask whole frames, the same number in each clip.

    Args:
        shape: ``(C, T, H, W)``.
        domain: Domain of the values.
        ratio: Fraction of the frames to mask, in [0, 1), rounded to a whole number of frames; with ``any`` to a whole
            number of runs of `length` frames.
        which: ``any`` masks random runs of `length` frames, drawn for each clip; ``last`` masks the end of the clip
            (prediction); ``middle`` masks frames between the first and the last ones (interpolation).
        length: Number of frames of a run with ``any``.
        value: Replaces masked values of x.
        in_evaluation: Whether to mask held-out clips too. Metrics then include only the masked elements.
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
        _check_options("corruption frames", shape, ratio)
        if length < 1:
            raise AeframeError(f"corruption frames requires length of at least 1, found {length}")
        super().__init__(shape, domain, ratio=ratio, length=length, axis=0, value=value, in_evaluation=in_evaluation)
        # `self.n` is the number of frames of a clip.
        self.which, self.num_hidden = which, min(round(ratio * self.n), self.n - 1)

    def sample_hidden(self, num: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        if self.which == "any":
            return super().sample_hidden(num, device)
        first = self.n - self.num_hidden
        first = first if self.which == "last" else first // 2
        frame = torch.arange(self.n, device=device)
        hidden = (frame >= first) & (frame < first + self.num_hidden)
        return hidden.reshape(1, -1, 1, 1).expand(num, -1, 1, 1), {}


def _check_options(who: str, shape: Shape, ratio: float) -> None:
    """Raise an error for data that are no clips, or a bad ratio; `who` is the name of the corruption in it."""
    if len(shape) != 4:
        raise AeframeError(
            f"{who} requires clips (C, T, H, W), found the shape {shape}; choose corruption=patches or spans for other "
            "data"
        )
    if not 0 <= ratio < 1:
        raise AeframeError(f"{who} requires ratio in [0, 1), found {ratio}")
