"""What a dataset of videos hands to the modality: stored clips, or the files that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aeframe.batch import Shape
from aeframe.errors import AeframeError

SPLITS = ("train", "validation", "test")


@dataclass(slots=True)
class Stack:
    """Videos of one length, in memory."""

    pixels: Tensor
    """``(N, T, C, H, W)`` uint8. C is 1 or 3."""
    labels: Tensor | None = None
    """``(N,)`` int64."""

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def rows(self, index: Tensor) -> Stack:
        """Return some of the videos."""
        return Stack(self.pixels[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a video file or of a folder of frames, from one share of its frames to another, in [0, 1]."""

    path: Path
    begin: float = 0.0
    end: float = 1.0


@dataclass(slots=True)
class Files:
    """Videos that are still to be decoded."""

    parts: list[Part]
    labels: Tensor | None = None
    """``(N,)`` int64."""
    max_memory_mb: int = 2048
    """Decoded frames are kept in memory when those of all splits take no more than this, and decoded by batch
    otherwise."""

    def __len__(self) -> int:
        return len(self.parts)

    def rows(self, index: Tensor) -> Files:
        """Return some of the videos."""
        parts = [self.parts[i] for i in index.tolist()]
        return Files(parts, None if self.labels is None else self.labels[index], self.max_memory_mb)


RawSplits = Mapping[str, Stack | Files]
"""What `Dataset.load` returns for this modality: one entry for each of `SPLITS`."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Fractions of the training videos that become the validation and the test split where the data have none.

    Videos are drawn by `seed`, so that no two splits have frames of one video. Of a single file the last stretches are
    taken: clips that stand side by side are too much alike to be shared out by chance.

    Raises:
        AeframeError: Shares that leave nothing to train on.
    """

    who: str
    validation: float
    test: float
    seed: int

    def __post_init__(self) -> None:
        if not (self.validation > 0 and self.test > 0 and self.validation + self.test < 1):
            raise AeframeError(
                f"{self.who} needs shares validation > 0 and test > 0 that leave something to train on, "
                f"found {self.validation} and {self.test}"
            )

    def complete(self, present: Mapping[str, Stack | Files]) -> RawSplits:
        """Return the three splits; `present` holds at least ``train``.

        Raises:
            AeframeError: Too few videos to make three splits.
        """
        train, splits = present["train"], dict(present)
        missing = [name for name in SPLITS if name not in present]
        if not missing:
            return {name: splits[name] for name in SPLITS}
        fractions = {name: getattr(self, name) for name in missing}
        if isinstance(train, Files) and len(train) == 1:
            (part,), end = train.parts, 1.0
            for name in reversed(missing):
                splits[name] = Files([Part(part.path, end - fractions[name], end)], train.labels, train.max_memory_mb)
                end -= fractions[name]
            splits["train"] = Files([Part(part.path, 0.0, end)], train.labels, train.max_memory_mb)
            return {name: splits[name] for name in SPLITS}
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed))
        for name in missing:
            num = max(1, round(fractions[name] * len(train)))
            splits[name], order = train.rows(order[:num].sort().values), order[num:]
        if not len(order):
            raise AeframeError(
                f"{self.who} has {len(train)} videos for {len(missing) + 1} splits ({', '.join(['train', *missing])}), "
                f"expected at least {len(missing) + 1}; add videos"
            )
        splits["train"] = train.rows(order.sort().values)
        return {name: splits[name] for name in SPLITS}


def shown(shape: Shape) -> str:
    """Write a shape for a person: ``"3 x 32 x 32"``."""
    return " x ".join(str(size) for size in shape)
