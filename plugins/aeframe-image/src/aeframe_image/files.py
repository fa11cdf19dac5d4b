"""Decode image files: all of them into memory, or batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Batch, Shape
from aeframe_image.decode import decode
from aeframe_image.fit import Fit
from aeframe_image.pictures import Files, Place, Stack, shown

OnError = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class Reader:
    """Decode files to uint8 ``(C, H, W)`` of one `shape`."""

    fit: Fit
    shape: Shape

    def __call__(self, place: Place) -> Tensor:
        """Decode one file.

        Raises:
            AeframeError: It cannot be decoded, or has another shape than the others.
        """
        return self.fitted(place, decode(place))

    def fitted(self, place: Place, pixels: Tensor) -> Tensor:
        """Bring decoded pixels ``(C, H, W)`` to the one shape, as far as the options say how."""
        fitted = self.fit(pixels[None])[0]
        if tuple(fitted.shape) != self.shape:
            options = []
            if fitted.shape[0] != self.shape[0]:
                options.append(f"modality.channels={self.shape[0]}")
            if tuple(fitted.shape[1:]) != self.shape[1:]:
                options.append(f"modality.size=[{self.shape[1]},{self.shape[2]}]")
            raise AeframeError(
                f"image '{place}' is {shown(tuple(fitted.shape))} (channels x height x width) where {shown(self.shape)}"
                f" is expected; bring all images to one shape with {' '.join(options)}"
            )
        return fitted

    def readable(self, places: list[Place]) -> Iterator[Tensor | str]:
        """Decode many files, in order: pixels, or the sentence that says why there are none."""
        # Pillow decodes without holding the interpreter, so threads do help.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            yield from threads.map(self._attempt, places)

    def _attempt(self, place: Place) -> Tensor | str:
        try:
            pixels = decode(place)
        except AeframeError as error:
            return str(error)
        return self.fitted(place, pixels)

    def select(self, files: Files, *, on_error: OnError, keep: bool) -> tuple[Files, Stack, list[str]]:
        """Decode all files once.

        Returns:
            The files that can be read, their pixels (none of them unless `keep`), and a sentence for each that was
            left out because `on_error` is ``skip``.

        Raises:
            AeframeError: A file that cannot be decoded while `on_error` is ``raise``; or none that can.
        """
        pixels = torch.empty((len(files) if keep else 0, *self.shape), dtype=torch.uint8)
        good: list[int] = []
        skipped: list[str] = []
        for place, found in enumerate(self.readable(files.places)):
            if isinstance(found, str):
                if on_error == "raise":
                    raise AeframeError(found)
                skipped.append(found)
                continue
            if keep:
                pixels[len(good)] = found
            good.append(place)
        if not good:
            raise AeframeError(f"none of {len(files)} images can be used; the first: {skipped[0]}")
        kept = files.rows(torch.tensor(good))
        return kept, Stack(pixels[: len(good)], kept.labels), skipped


class FileSource:
    """Image files that are decoded when their batch is asked for: for data that do not fit in memory."""

    in_memory = False

    def __init__(self, files: Files, reader: Reader, transform: Callable[[Batch], Batch]) -> None:
        self._files, self._reader, self._transform = files, reader, transform

    def __len__(self) -> int:
        return len(self._files)

    def batch(self, index: Tensor) -> Batch:
        """Return the images of the rows `index` ``(B,)``."""
        chosen = self._files.rows(index)
        x = torch.stack([self._reader(place) for place in chosen.places])
        extras = {} if chosen.labels is None else {"label": chosen.labels}
        return self._transform(Batch(x, index=index, extras=extras))
