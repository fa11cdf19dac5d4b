"""What a dataset of images hands to the modality: stored pixels, or the files that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from aeframe.types import Shape


@dataclass(slots=True)
class Stack:
    """Images of one shape, or videos of one shape and length, in memory."""

    pixels: Tensor
    """``(N, C, H, W)``: uint8, or float32 in [0, 1]; of videos ``(N, T, C, H, W)`` uint8. C is 1 or 3."""
    labels: Tensor | None = None
    """``(N,)`` int64."""

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def rows(self, index: Tensor) -> Stack:
        """Return some of them."""
        return Stack(self.pixels[index], None if self.labels is None else self.labels[index])


class Stored(Protocol):
    """An image file that is no file of its own: a member of an archive, a cell of a table. As text it says where."""

    def read(self) -> bytes:
        """Return the bytes of the file.

        Raises:
            AeframeError: They cannot be had.
        """
        ...


Place = Path | Stored
"""Where an image file is."""


@dataclass(slots=True)
class Files:
    """Image files that are still to be decoded."""

    places: list[Place]
    labels: Tensor | None = None
    """``(N,)`` int64."""
    max_memory_mb: int = 2048
    """Decoded images are kept in memory when those of all splits take no more than this, and decoded by batch
    otherwise."""

    def __len__(self) -> int:
        return len(self.places)

    def rows(self, index: Tensor) -> Files:
        """Return some of the files."""
        places = [self.places[i] for i in index.tolist()]
        return Files(places, None if self.labels is None else self.labels[index], self.max_memory_mb)


RawSplits = Mapping[str, Stack | Files]
"""What `Dataset.load` returns for this modality: one entry for each of `aeframe.data.random_split.SPLITS`."""


def shown(shape: Shape) -> str:
    """Write a shape for a person: ``"3 x 32 x 32"``."""
    return " x ".join(str(size) for size in shape)
