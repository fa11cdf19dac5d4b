"""The raw splits that an image dataset loads: pixels in memory, or images to be decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from aeframe.types import Shape


@dataclass(slots=True)
class Stack:
    """Images of equal shape, or videos of equal shape and length, in memory."""

    pixels: Tensor
    """``(N, C, H, W)``: uint8, or float32 in [0, 1]; of videos ``(N, T, C, H, W)`` uint8. C is 1 or 3."""
    labels: Tensor | None = None
    """``(N,)`` int64."""

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def rows(self, index: Tensor) -> Stack:
        """Return the images `index` ``(n,)``."""
        return Stack(self.pixels[index], None if self.labels is None else self.labels[index])


@dataclass(slots=True)
class SharedStack:
    """Images of equal shape, or videos of equal shape and length, in an array of the caller, which is not copied."""

    pixels: Tensor
    """As in `Stack`, with floats of any precision; a view of the array."""
    labels: Tensor | None = None
    """``(N,)`` int64."""
    index: Tensor | None = None
    """``(N,)``: the rows of `pixels` that belong to the stack; None for all."""

    def __len__(self) -> int:
        return self.pixels.shape[0] if self.index is None else len(self.index)

    @property
    def shape(self) -> Shape:
        """``(C, H, W)``, or of videos ``(T, C, H, W)``."""
        return tuple(self.pixels.shape[1:])

    def rows(self, index: Tensor) -> SharedStack:
        """Return the images `index` ``(n,)``, without copying them."""
        return SharedStack(self.pixels, None if self.labels is None else self.labels[index], self.positions(index))

    def positions(self, index: Tensor) -> Tensor:
        """Return the rows of `pixels` ``(n,)`` of the images `index` ``(n,)``."""
        return index if self.index is None else self.index[index]

    def copied(self, index: Tensor) -> Tensor:
        """Return a copy of the images `index` ``(n,)``: uint8, or float32."""
        pixels = self.pixels.index_select(0, self.positions(index))
        return pixels if pixels.dtype == torch.uint8 else pixels.float()


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a list in memory; ``str()`` returns its place in the list, for messages."""

    image: Any
    """A picture of PIL, or an array ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)`` of uint8 or bool."""
    number: int

    def __str__(self) -> str:
        return f"x[{self.number}]"


class EmbeddedFile(Protocol):
    """An image file inside another file, such as a member of an archive or a cell of a table.

    ``str()`` returns its location, for messages.
    """

    def read(self) -> bytes:
        """Return the bytes of the image file.

        Raises:
            AeframeError: They cannot be read.
        """
        ...


ImageFile = Path | EmbeddedFile | Picture


@dataclass(slots=True)
class Files:
    """Image files, or images of a list in memory, not decoded yet."""

    files: list[ImageFile]
    labels: Tensor | None = None
    """``(N,)`` int64."""
    max_memory_mb: int = 2048
    """If the decoded images of all splits fit into this many MiB, they are decoded once into memory; otherwise each
    batch is decoded when it is requested."""

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, index: Tensor) -> Files:
        """Return the files `index` ``(n,)``."""
        files = [self.files[row] for row in index.tolist()]
        return Files(files, None if self.labels is None else self.labels[index], self.max_memory_mb)


RawSplits = Mapping[str, Stack | SharedStack | Files]
"""The value of `Dataset.load` for this modality: one entry for each of `aeframe.data.random_split.SPLITS`."""


def format_shape(shape: Shape) -> str:
    """Return a shape as text for messages: ``"3 x 32 x 32"``."""
    return " x ".join(str(size) for size in shape)
