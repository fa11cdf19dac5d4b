"""The raw splits that an image dataset loads: pixels in memory, or images to be decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from aeframe.types import FACTORS, Shape


@dataclass(slots=True)
class Stack:
    """Images of equal shape, or videos of equal shape and length, in memory."""

    pixels: Tensor
    """``(N, C, H, W)``: uint8, wider integers, or float32; of videos ``(N, T, C, H, W)`` uint8."""
    labels: Tensor | None = None
    """``(N,)`` int64."""
    names: list[str] | None = None
    """The name of each image, such as its file; None for images without names."""
    outside_unit: tuple[str, str] | None = None
    """What is wrong with floats outside [0, 1], and the next step in training: an error unless the values of black and
    white are set."""
    factors: Tensor | None = None
    """``(N, F)`` int64: known factors of variation (`aeframe.types.FACTORS`)."""

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def rows(self, index: Tensor) -> Stack:
        """Return the images `index` ``(n,)``."""
        return Stack(
            self.pixels[index],
            None if self.labels is None else self.labels[index],
            selected(self.names, index),
            self.outside_unit,
            None if self.factors is None else self.factors[index],
        )

    def extras(self) -> dict[str, Tensor]:
        """Return the entries of `Batch.extras`: labels and factors, as far as they are known."""
        known = {"label": self.labels, FACTORS: self.factors}
        return {name: values for name, values in known.items() if values is not None}


@dataclass(slots=True)
class SharedStack:
    """Images of equal shape, or videos of equal shape and length, in an array of the caller, which is not copied."""

    pixels: Tensor
    """As in `Stack`, with integers and floats of any precision; a view of the array."""
    labels: Tensor | None = None
    """``(N,)`` int64."""
    index: Tensor | None = None
    """``(N,)``: the rows of `pixels` that belong to the stack; None for all."""
    outside_unit: tuple[str, str] | None = None
    """As in `Stack`."""

    def __len__(self) -> int:
        return self.pixels.shape[0] if self.index is None else len(self.index)

    @property
    def shape(self) -> Shape:
        """``(C, H, W)``, or of videos ``(T, C, H, W)``."""
        return tuple(self.pixels.shape[1:])

    def rows(self, index: Tensor) -> SharedStack:
        """Return the images `index` ``(n,)``, without copying them."""
        labels = None if self.labels is None else self.labels[index]
        return SharedStack(self.pixels, labels, self.positions(index), self.outside_unit)

    def positions(self, index: Tensor) -> Tensor:
        """Return the rows of `pixels` ``(n,)`` of the images `index` ``(n,)``."""
        return index if self.index is None else self.index[index]

    def copied(self, index: Tensor) -> Tensor:
        """Return a copy of the images `index` ``(n,)``: uint8, signed integers, or float32."""
        pixels = self.pixels.index_select(0, self.positions(index))
        if pixels.is_floating_point():
            return pixels.float()
        # torch computes little with unsigned integers of more than 8 bits.
        wider = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.float64}
        return pixels.to(wider.get(pixels.dtype, pixels.dtype))


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a list in memory; ``str()`` returns its place in the list, for messages."""

    image: Any
    """A picture of PIL, or an array ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)`` of numbers or bool."""
    number: int

    def __str__(self) -> str:
        return f"x[{self.number}]"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a TIFF file; ``str()`` returns its place, for messages."""

    path: Path
    number: int
    """The number of the page, from 0."""

    def __str__(self) -> str:
        return f"{self.path}#{self.number}"


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


ImageFile = Path | Page | EmbeddedFile | Picture


@dataclass(slots=True)
class Files:
    """Image files, or images of a list in memory, not decoded yet."""

    files: list[ImageFile]
    labels: Tensor | None = None
    """``(N,)`` int64."""
    max_memory_mb: int = 2048
    """If the decoded images of all splits fit into this many MiB, they are decoded once into memory; otherwise each
    batch is decoded when it is requested."""
    names: list[str] | None = None
    """The name of each file in its dataset, such as its path relative to the folder."""

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, index: Tensor) -> Files:
        """Return the files `index` ``(n,)``."""
        files = [self.files[row] for row in index.tolist()]
        labels = None if self.labels is None else self.labels[index]
        return Files(files, labels, self.max_memory_mb, selected(self.names, index))


RawSplits = Mapping[str, Stack | SharedStack | Files]
"""The value of `Dataset.load` for this modality: one entry for each of `aeframe.data.random_split.SPLITS`."""


def selected(names: list[str] | None, index: Tensor) -> list[str] | None:
    """Return the names of the rows `index` ``(n,)``."""
    return None if names is None else [names[row] for row in index.tolist()]


def format_shape(shape: Shape) -> str:
    """Return a shape as text for messages: ``"3 x 32 x 32"``."""
    return " x ".join(str(size) for size in shape)
