"""Convert image files and arrays to one shape: all into memory, or batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.file_samples import OnError
from aeframe.data.notes import Notes
from aeframe.errors import AeframeError
from aeframe.types import Batch, Shape
from aeframe_image.decode import Decoded, decode_values
from aeframe_image.fit import Fit
from aeframe_image.pictures import Files, ImageFile, SharedStack, Stack, format_shape
from aeframe_image.ranges import Extent, Levels, clip_note, kind_of
from aeframe_image.values import to_unit

_CHUNK = 1024


@dataclass(slots=True)
class Selected:
    """The image files that can be decoded."""

    files: Files
    stack: Stack
    """Their pixels; an empty stack unless these are kept."""
    rows: Tensor
    """``(n,)``: their numbers among all files."""
    skipped: list[str]
    """A message for each of the other files."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Decode image files to pixels ``(C, H, W)`` of one shape: uint8, or floats from 0 (black) to 1 (white)."""

    fit: Fit
    """Converts size and channels."""
    shape: Shape
    """The shape that every image must have after `fit`."""
    levels: Levels
    """The values of black and white."""
    is_trained: bool = False
    """Whether the images are those of a trained model, whose options are fixed."""
    refuses_clipping: bool = False
    """Whether values outside an inferred range are an error."""
    skips_unfit: bool = False
    """Whether `select` also skips images of another shape, or outside the range, which are not damaged."""
    clipped: list[Extent] = field(default_factory=list)
    """The images of which values were cut off, since the list was cleared."""

    def __call__(self, file: ImageFile) -> Tensor:
        """Decode one file.

        Raises:
            AeframeError: It cannot be decoded, or has another shape after `fit`.
        """
        return self.convert(file, decode_values(file))

    def convert(self, file: ImageFile, decoded: Decoded) -> Tensor:
        """Apply `levels` and `fit` to a decoded image; a grey one is converted to colour if the others have colour.

        Raises:
            AeframeError: The result has another shape than `shape`, or values outside the range.
        """
        self._check_values(file, decoded)
        pixels = self.levels.unit(decoded.pixels, decoded.declared)
        is_grey = self.fit.channels is None and pixels.shape[0] == 1 and self.shape[0] == 3
        fit = replace(self.fit, channels=3) if is_grey else self.fit
        found = fit.shape(tuple(pixels.shape))
        if found != self.shape:
            raise AeframeError(
                f"image '{file}' is {format_shape(found)} (channels x height x width), expected "
                f"{format_shape(self.shape)}{self._remedy(found)}"
            )
        return fit(pixels[None])[0]

    def add_clipped(self, notes: Notes, num: int, what: str) -> None:
        """Add a note about the images of which values were cut off, and forget them.

        Args:
            notes: The notes.
            num: Number of all images.
            what: What the images are, in plural.
        """
        note = clip_note(self.clipped, num, self.levels.range_of(self.levels.kind), what)
        if note is not None:
            notes.add(f"modality 'image': {note}")
        self.clipped.clear()

    def _check_values(self, file: ImageFile, decoded: Decoded) -> None:
        """Record values outside the range, or raise AeframeError for them."""
        kind = kind_of(decoded.pixels.dtype)
        if kind == "bytes" and self.levels.chosen is None:
            return
        extent = Extent.of(decoded.pixels, decoded.declared)
        low, high = self.levels.range_of(kind, decoded.declared)
        inside = low <= extent.low and extent.high <= high
        is_unknown = self.levels.chosen is None and decoded.declared is None and kind not in self.levels.learned
        if not inside and (is_unknown or (self.refuses_clipping and self.levels.chosen is None)):
            step = "convert it" if self.is_trained else f"set modality.range=[{extent.low:g},{extent.high:g}]"
            raise AeframeError(
                f"image '{file}' has values from {extent.low:g} to {extent.high:g}, expected {low:g} (black) to "
                f"{high:g} (white); {step}"
            )
        if is_unknown and extent.high <= low + (high - low) / 10:
            raise AeframeError(
                f"image '{file}' has values up to {extent.high:g} of {high:g}, so that it would be nearly black, and "
                "the model was trained without images of more than 8 bits, which would show the value of white; "
                "convert it to 8 bits"
            )
        if not inside:
            self.clipped.append(extent)

    def _remedy(self, found: Shape) -> str:
        if self.is_trained:
            return "; convert it to that shape"
        options = []
        if found[0] != self.shape[0]:
            is_colour = found[0] == 3 and self.shape[0] == 1
            options.append("modality.channels=3 (or 1 to drop colour)" if is_colour else f"channels={self.shape[0]}")
        if found[1:] != self.shape[1:]:
            options.append(f"modality.size=[{self.shape[1]},{self.shape[2]}]")
        return f"; convert all images to one shape with {' '.join(options)}"

    def decode_all(self, files: list[ImageFile]) -> Iterator[Tensor | str]:
        """Yield, in order, the pixels of each file, or the error message of one that cannot be decoded.

        Raises:
            AeframeError: A file has another shape after `fit`.
        """
        yield from in_threads(self._decode_or_message, files)

    def _decode_or_message(self, file: ImageFile) -> Tensor | str:
        try:
            decoded = decode_values(file)
        except AeframeError as error:
            return str(error)
        try:
            return self.convert(file, decoded)
        except AeframeError as error:
            if self.skips_unfit:
                return str(error)
            raise

    def select(self, files: Files, *, on_error: OnError, keep: bool) -> Selected:
        """Decode all files once and select those that can be decoded.

        Args:
            files: The files to decode.
            on_error: ``skip`` leaves out files that cannot be decoded, ``raise`` stops at the first.
            keep: Whether to return the pixels.

        Raises:
            AeframeError: A file cannot be decoded and `on_error` is ``raise``, or no file can be decoded.
        """
        dtype = torch.uint8 if self.levels.keeps_bytes else torch.float32
        pixels = torch.empty((len(files) if keep else 0, *self.shape), dtype=dtype)
        selected: list[int] = []
        skipped: list[str] = []
        for row, result in enumerate(self.decode_all(files.files)):
            if isinstance(result, str):
                if on_error == "raise":
                    raise AeframeError(result)
                skipped.append(result)
                continue
            if keep:
                # One image of more bits than those of training makes all floats.
                pixels = pixels if pixels.dtype == torch.float32 or result.dtype == torch.uint8 else to_unit(pixels)
                pixels[len(selected)] = result if result.dtype == pixels.dtype else to_unit(result)
            selected.append(row)
        if not selected:
            raise AeframeError(f"none of {len(files)} images can be used; the first: {skipped[0]}")
        rows = torch.tensor(selected)
        readable = files.rows(rows)
        return Selected(readable, Stack(pixels[: len(selected)], readable.labels, readable.names), rows, skipped)


class FileSource:
    """A data source that decodes image files batch by batch, for data that do not fit into memory.

    Args:
        files: The image files.
        reader: Decodes them.
        transform: Maps a batch of pixels to the batch that is returned.
        numbers: ``(N,)``: the `Batch.index` of each file; by default its row.
        notes: Receives what is changed when files are read.
    """

    in_memory = False

    def __init__(
        self,
        files: Files,
        reader: Reader,
        transform: Callable[[Batch], Batch],
        *,
        numbers: Tensor | None = None,
        notes: Notes | None = None,
    ) -> None:
        self._files, self._reader, self._transform = files, reader, transform
        self._numbers, self._notes = numbers, notes

    def __len__(self) -> int:
        return len(self._files)

    def batch(self, index: Tensor) -> Batch:
        """Return the images of the rows `index` ``(B,)``."""
        files = self._files.rows(index)
        x = stacked([self._reader(file) for file in files.files])
        if self._notes is not None:
            self._reader.add_clipped(self._notes, len(index), "images of a batch")
        extras = {} if files.labels is None else {"label": files.labels}
        numbers = index if self._numbers is None else self._numbers[index]
        return self._transform(Batch(x, index=numbers, extras=extras))

    def columns(self, index: Tensor) -> Mapping[str, NDArray[Any]]:
        """Return the names ``(n,)`` of the files of the rows `index` ``(n,)``, see `Source`."""
        return name_columns(self._files.rows(index).names)


class SharedSource:
    """A data source of images in an array of the caller, of which each batch is a copy.

    Args:
        stack: The images.
        fit: Converts size and channels of the images of a batch.
        levels: The values of black and white.
        transform: Maps a batch of pixels to the batch that is returned.
    """

    in_memory = True

    def __init__(self, stack: SharedStack, fit: Fit, levels: Levels, transform: Callable[[Batch], Batch]) -> None:
        self._stack, self._fit, self._levels, self._transform = stack, fit, levels, transform

    def __len__(self) -> int:
        return len(self._stack)

    def batch(self, index: Tensor) -> Batch:
        """Return the images of the rows `index` ``(B,)``."""
        labels = self._stack.labels
        extras = {} if labels is None else {"label": labels[index]}
        pixels = self._levels.unit(self._stack.copied(index))
        return self._transform(Batch(self._fit(pixels), index=index, extras=extras))


def converted(stack: SharedStack | Stack, fit: Fit, levels: Levels) -> Stack:
    """Return a copy of the images after conversion; a chunk of them is read at a time."""
    chunks = (_copied(stack, chunk) for chunk in torch.arange(len(stack)).split(_CHUNK))
    names, factors = (stack.names, stack.factors) if isinstance(stack, Stack) else (None, None)
    return Stack(torch.cat([fit(levels.unit(chunk)) for chunk in chunks]), stack.labels, names, factors=factors)


def stacked(images: list[Tensor]) -> Tensor:
    """Return images ``(C, H, W)`` as one tensor ``(N, C, H, W)``: floats if some are floats."""
    if len({image.dtype for image in images}) > 1:
        images = [to_unit(image) for image in images]
    return torch.stack(images)


def extents(raw: Stack | SharedStack | Files, on_error: OnError) -> Iterator[Extent]:
    """Yield the extents of images, of all of which the values are read.

    Raises:
        AeframeError: A file cannot be decoded, and `on_error` is ``raise``.
    """
    if not isinstance(raw, Files):
        for chunk in torch.arange(len(raw)).split(_CHUNK):
            for pixels in _copied(raw, chunk):
                yield Extent.of(pixels)
        return
    for result in in_threads(_extent_or_message, raw.files):
        if isinstance(result, Extent):
            yield result
        elif on_error == "raise":
            raise AeframeError(result)


def in_threads(function: Callable[[ImageFile], Any], files: Iterable[ImageFile]) -> Iterator[Any]:
    """Yield the results of a function of each file, in order."""
    # Pillow releases the GIL while it decodes, so threads run in parallel.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        yield from threads.map(function, files)


def name_columns(names: list[str] | None) -> dict[str, NDArray[Any]]:
    """Return names as a column of a `Source`."""
    return {} if names is None else {"name": np.array(names, dtype=np.str_)}


def _copied(stack: Stack | SharedStack, index: Tensor) -> Tensor:
    return stack.copied(index) if isinstance(stack, SharedStack) else stack.pixels[index]


def _extent_or_message(file: ImageFile) -> Extent | str:
    try:
        decoded = decode_values(file)
    except AeframeError as error:
        return str(error)
    return Extent.of(decoded.pixels, decoded.declared)
