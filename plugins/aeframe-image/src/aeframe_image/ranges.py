"""`Levels`: the values that mean black and white, which are chosen, stated by a file, or inferred from the training
images.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError

Kind = Literal["bytes", "integer", "float"]
"""The type of an image's values: ``bytes`` (8 bits), ``integer`` (more than 8 bits), or ``float``."""
Range = tuple[float, float]
"""The values of black and of white."""

_FULL: dict[Kind, Range] = {"bytes": (0.0, 255.0), "integer": (0.0, 65535.0), "float": (0.0, 1.0)}
_KINDS: tuple[Kind, ...] = ("bytes", "integer", "float")
"""From the narrowest to the widest."""
_DARK = 0.1
"""Images without a value above this share of the range are reported."""


def kind_of(dtype: torch.dtype) -> Kind:
    """Return the kind of the values of a tensor."""
    if dtype in (torch.uint8, torch.bool):
        return "bytes"
    return "float" if dtype.is_floating_point else "integer"


@dataclass(frozen=True, slots=True)
class Extent:
    """The smallest and the largest value of some images of one kind."""

    kind: Kind
    low: float
    high: float
    declared: Range | None = None
    """The values of black and white that the files state; None if they state none."""
    num: int = 1
    """Number of images."""

    @classmethod
    def of(cls, pixels: Tensor, declared: Range | None = None) -> Extent:
        """Return the extent of one image ``(C, H, W)``."""
        low, high = pixels.aminmax()
        return cls(kind_of(pixels.dtype), float(low), float(high), declared)

    @staticmethod
    def union(extents: Iterable[Extent]) -> Extent | None:
        """Return the extent of all images; None for none."""
        found = list(extents)
        if not found:
            return None
        stated = [extent.declared for extent in found if extent.declared is not None]
        declared = (min(low for low, _ in stated), max(high for _, high in stated)) if stated else None
        low, high = min(extent.low for extent in found), max(extent.high for extent in found)
        return Extent(found[0].kind, low, high, declared, sum(extent.num for extent in found))


class Levels:
    """Convert the values of images to [0, 1], black to white, and back.

    Images of 8 bits are black at 0 and white at 255. For those of more bits the file may state the white value, for
    example that 12 of 16 bits are used. Otherwise it is inferred from all training images: black is 0, and white is
    the largest value of the fewest bits that hold every value. If there are negative values, black and white are the
    smallest and the largest one. Floats are black at 0 and white at 1.

    Args:
        chosen: The values of black and white of all images; None infers them.

    Raises:
        AeframeError: `chosen` is no ascending pair of numbers.
    """

    def __init__(self, chosen: Range | None = None) -> None:
        if chosen is not None and not (all(math.isfinite(value) for value in chosen) and chosen[0] < chosen[1]):
            raise AeframeError(
                f"modality 'image' has range={list(chosen)}, expected the value of black and a larger value of white, "
                "such as [0,4095]"
            )
        self.chosen = chosen
        self.learned: dict[Kind, Range] = {}
        """The range of each kind but ``bytes`` in training."""
        self.kind: Kind = "bytes"
        """The widest kind in training, in which images are written."""

    @property
    def keeps_bytes(self) -> bool:
        """Whether all training images are stored as uint8."""
        return self.kind == "bytes" and self.chosen in (None, _FULL["bytes"])

    @property
    def is_unit(self) -> bool:
        """Whether images are written as floats from 0 to 1."""
        low, high = self.range_of(self.kind)
        return self.kind == "float" and low >= 0 and high <= 1

    def set_kind(self, kinds: Collection[Kind]) -> None:
        """Set the widest of the kinds of the training images."""
        self.kind = next((kind for kind in reversed(_KINDS) if kind in kinds), "bytes")

    def range_of(self, kind: Kind, declared: Range | None = None) -> Range:
        """Return the values of black and white of an image of a kind.

        Args:
            kind: The kind of its values.
            declared: The range that its file states, if it does.
        """
        if self.chosen is not None:
            return self.chosen
        if kind == "bytes":
            return _FULL["bytes"]
        return declared or self.learned.get(kind) or _FULL[kind]

    def unit(self, pixels: Tensor, declared: Range | None = None) -> Tensor:
        """Return pixels with black at 0 and white at 1, float32; uint8 pixels from 0 to 255 as they are.

        Values outside the range are clipped.
        """
        kind = kind_of(pixels.dtype)
        low, high = self.range_of(kind, declared)
        if kind == "bytes" and (low, high) == _FULL["bytes"]:
            return pixels
        if kind == "float" and (low, high) == (0.0, 1.0):
            return pixels.float().clamp(0, 1)
        # Values of 32 bits need float64.
        return ((pixels.double() - low) / (high - low)).clamp(0, 1).float()

    def values(self, unit: Tensor) -> NDArray[Any]:
        """Return pixels from 0 (black) to 1 (white) as values of the kind and range of the training images.

        The array has the shape of `unit`, and the dtype uint8, a wider integer if values need it, or float32.
        """
        low, high = self.range_of(self.kind)
        values = low + unit.double() * (high - low)
        if self.kind == "float":
            return values.float().numpy()
        array: NDArray[Any] = values.round().numpy()
        return array.astype(self._dtype(low, high))

    def _dtype(self, low: float, high: float) -> type[np.generic]:
        candidates: list[type[np.integer[Any]]] = [np.uint16, np.int16, np.uint32, np.int32]
        if self.kind == "bytes":
            candidates.insert(0, np.uint8)
        fitting = (dtype for dtype in candidates if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max)
        return next(fitting, np.int64)

    def learn(self, extents: Iterable[Extent]) -> list[str]:
        """Infer the ranges from the training images; return notes about it.

        Raises:
            AeframeError: Floats outside [0, 1], whose values of black and white cannot be inferred.
        """
        by_kind: dict[Kind, list[Extent]] = {kind: [] for kind in _KINDS}
        for extent in extents:
            by_kind[extent.kind].append(extent)
        self.set_kind([kind for kind, found in by_kind.items() if found])
        notes = [*_mixed_kinds(by_kind)]
        if self.chosen is None:
            for kind in ("integer", "float"):
                if by_kind[kind]:
                    notes += self._infer(kind, by_kind[kind])
        return notes

    def _infer(self, kind: Kind, extents: list[Extent]) -> Iterable[str]:
        """Set the range of a kind; yield what was inferred."""
        unstated = Extent.union(extent for extent in extents if extent.declared is None)
        stated = Extent.union(extent for extent in extents if extent.declared is not None)
        if unstated is None:
            assert stated is not None
            assert stated.declared is not None
            low, high = self.learned[kind] = stated.declared
            yield (
                f"{_images(stated.num)} of more than 8 bits: black is {low:g} and white is {high:g}, as the files state"
            )
            return
        low, high = self.learned[kind] = _inferred(unstated)
        if kind == "integer":
            yield (
                f"{_images(unstated.num)} of more than 8 bits: black is {low:g} and white is {high:g}, inferred from "
                f"the values {unstated.low:g} to {unstated.high:g} of all training images; modality.range sets other "
                "values"
            )

    def state(self) -> dict[str, Any]:
        """Return what `learn` inferred, as values that JSON can represent; empty for images of 8 bits."""
        if self.kind == "bytes" and not self.learned:
            return {}
        return {"kind": self.kind, "ranges": {kind: list(levels) for kind, levels in self.learned.items()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Set what `state` returned."""
        self.kind = state.get("kind", "bytes")
        self.learned = {kind: (float(low), float(high)) for kind, (low, high) in state.get("ranges", {}).items()}


def dark_note(share: float, levels: Range | None) -> str | None:
    """Return a note if the training images are nearly black, otherwise None.

    Args:
        share: The largest value of a training image, from 0 (black) to 1 (white).
        levels: The values of black and white; None if these differ between images.
    """
    if share > _DARK:
        return None
    scale = "their range" if levels is None else f"the range from {levels[0]:g} to {levels[1]:g}"
    return (
        f"no training image goes beyond {share:.1%} of {scale}, so that all are nearly black; modality.range sets the "
        "values of black and white"
    )


def clip_note(extents: Iterable[Extent], num: int, levels: Range, what: str) -> str | None:
    """Return a note about images with values outside the range, otherwise None.

    Args:
        extents: The extents of images.
        num: Number of all images.
        levels: The values of black and white.
        what: What the images are: ``validation images``.
    """
    outside = [extent for extent in extents if extent.low < levels[0] or extent.high > levels[1]]
    union = Extent.union(outside)
    if union is None:
        return None
    return (
        f"{union.num} of {num} {what} have values outside the range from {levels[0]:g} to {levels[1]:g} (from "
        f"{union.low:g} to {union.high:g}), which are cut off"
    )


def _inferred(extent: Extent) -> Range:
    """Return the range of images that state none."""
    if extent.kind == "float":
        if extent.low < 0 or extent.high > 1:
            raise AeframeError(
                f"modality 'image': the training images are floats from {extent.low:g} to {extent.high:g}, and floats "
                "are black at 0 and white at 1; set the values of black and white, such as "
                f"modality.range=[{extent.low:g},{extent.high:g}]"
            )
        return 0.0, 1.0
    if extent.low < 0:
        return extent.low, max(extent.high, extent.low + 1)
    return 0.0, float(2 ** max(8, int(extent.high).bit_length()) - 1)


def _mixed_kinds(by_kind: Mapping[Kind, list[Extent]]) -> Iterable[str]:
    """Yield a note if the images are of several kinds."""
    names = {"bytes": "8 bits", "integer": "more bits", "float": "floats"}
    counts = {kind: sum(extent.num for extent in extents) for kind, extents in by_kind.items() if extents}
    if len(counts) > 1:
        listed = ", ".join(f"{num} of {names[kind]}" for kind, num in counts.items())
        yield f"the training images have different types ({listed}); each type has black and white values of its own"


def _images(num: int) -> str:
    return f"{num} training image{'s' * (num != 1)}"
