"""Convert image files and arrays to one shape: all into memory, or batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.data.file_samples import OnError
from aeframe.errors import AeframeError
from aeframe.types import Batch, Shape
from aeframe_image.decode import decode
from aeframe_image.fit import Fit
from aeframe_image.pictures import Files, ImageFile, SharedStack, Stack, format_shape

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Reader:
    """Decode image files to uint8 pixels ``(C, H, W)`` of one shape."""

    fit: Fit
    """Converts size and channels."""
    shape: Shape
    """The shape that every image must have after `fit`."""

    def __call__(self, file: ImageFile) -> Tensor:
        """Decode one file.

        Raises:
            AeframeError: It cannot be decoded, or has another shape after `fit`.
        """
        return self.convert(file, decode(file))

    def convert(self, file: ImageFile, pixels: Tensor) -> Tensor:
        """Apply `fit` to the decoded pixels ``(C, H, W)`` of a file.

        Raises:
            AeframeError: The result has another shape than `shape`.
        """
        converted = self.fit(pixels[None])[0]
        if tuple(converted.shape) != self.shape:
            options = []
            if converted.shape[0] != self.shape[0]:
                options.append(f"modality.channels={self.shape[0]}")
            if tuple(converted.shape[1:]) != self.shape[1:]:
                options.append(f"modality.size=[{self.shape[1]},{self.shape[2]}]")
            raise AeframeError(
                f"image '{file}' is {format_shape(tuple(converted.shape))} (channels x height x width), expected "
                f"{format_shape(self.shape)}; convert all images to one shape with {' '.join(options)}"
            )
        return converted

    def decode_all(self, files: list[ImageFile]) -> Iterator[Tensor | str]:
        """Yield, in order, the pixels of each file, or the error message of one that cannot be decoded.

        Raises:
            AeframeError: A file has another shape after `fit`.
        """
        # Pillow releases the GIL while it decodes, so threads run in parallel.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            yield from threads.map(self._decode_or_message, files)

    def _decode_or_message(self, file: ImageFile) -> Tensor | str:
        try:
            pixels = decode(file)
        except AeframeError as error:
            return str(error)
        return self.convert(file, pixels)

    def select(self, files: Files, *, on_error: OnError, keep: bool) -> tuple[Files, Stack, list[str]]:
        """Decode all files once and select those that can be decoded.

        Args:
            files: The files to decode.
            on_error: ``skip`` leaves out files that cannot be decoded, ``raise`` stops at the first.
            keep: Whether to return the pixels.

        Returns:
            The selected files, their pixels (an empty stack unless `keep`), and a message for each skipped file.

        Raises:
            AeframeError: A file cannot be decoded and `on_error` is ``raise``, or no file can be decoded.
        """
        pixels = torch.empty((len(files) if keep else 0, *self.shape), dtype=torch.uint8)
        selected: list[int] = []
        skipped: list[str] = []
        for row, result in enumerate(self.decode_all(files.files)):
            if isinstance(result, str):
                if on_error == "raise":
                    raise AeframeError(result)
                skipped.append(result)
                continue
            if keep:
                pixels[len(selected)] = result
            selected.append(row)
        if not selected:
            raise AeframeError(f"none of {len(files)} images can be used; the first: {skipped[0]}")
        readable = files.rows(torch.tensor(selected))
        return readable, Stack(pixels[: len(selected)], readable.labels), skipped


class FileSource:
    """A data source that decodes image files batch by batch, for data that do not fit into memory."""

    in_memory = False

    def __init__(self, files: Files, reader: Reader, transform: Callable[[Batch], Batch]) -> None:
        self._files, self._reader, self._transform = files, reader, transform

    def __len__(self) -> int:
        return len(self._files)

    def batch(self, index: Tensor) -> Batch:
        """Return the images of the rows `index` ``(B,)``."""
        files = self._files.rows(index)
        x = torch.stack([self._reader(file) for file in files.files])
        extras = {} if files.labels is None else {"label": files.labels}
        return self._transform(Batch(x, index=index, extras=extras))


class SharedSource:
    """A data source of images in an array of the caller, of which each batch is a copy.

    Args:
        stack: The images.
        fit: Converts size and channels of the images of a batch.
        transform: Maps a batch of pixels to the batch that is returned.
    """

    in_memory = True

    def __init__(self, stack: SharedStack, fit: Fit, transform: Callable[[Batch], Batch]) -> None:
        self._stack, self._fit, self._transform = stack, fit, transform

    def __len__(self) -> int:
        return len(self._stack)

    def batch(self, index: Tensor) -> Batch:
        """Return the images of the rows `index` ``(B,)``."""
        labels = self._stack.labels
        extras = {} if labels is None else {"label": labels[index]}
        return self._transform(Batch(self._fit(self._stack.copied(index)), index=index, extras=extras))


def converted(stack: SharedStack, fit: Fit) -> Stack:
    """Return a copy of the images after conversion; a chunk of them is read at a time."""
    chunks = torch.arange(len(stack)).split(_CHUNK)
    return Stack(torch.cat([fit(stack.copied(chunk)) for chunk in chunks]), stack.labels)
