"""Read the headers of image files: their numbers of bands, their types, and the shape of the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aeframe.data.folders import first_opened
from aeframe.data.notes import Notes
from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.decode import Header, decode_values, read_header
from aeframe_image.fit import Fit
from aeframe_image.pictures import Files, ImageFile, Page, Picture
from aeframe_image.ranges import Kind

_MAX_PATHS, _MAX_EMBEDDED = 10_000, 1_000
"""Headers that are read; of more files they are evenly spaced. Those inside other files are read completely."""


@dataclass(slots=True)
class Survey:
    """The headers of image files, without those that cannot be read."""

    num_files: int = 0
    """Number of headers that were read."""
    bands: Counter[int] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    num_animations: int = 0
    num_stacks: int = 0
    """Number of TIFF files inside other files with several pages, of which the first is read."""

    def add(self, header: Header, file: ImageFile) -> None:
        """Count one file."""
        self.num_files += 1
        self.bands[header.bands] += 1
        self.kinds[header.kind] += 1
        self.num_animations += header.is_animation
        self.num_stacks += header.num_pages > 1 and not isinstance(file, (Page, Path))


def survey(files: Iterable[ImageFile]) -> Survey:
    """Return a summary of the headers of files, of at most 10,000 evenly spaced ones."""
    listed, found = list(files), Survey()
    is_embedded = any(not isinstance(file, (Path, Page, Picture)) for file in listed[:1])
    limit = min(len(listed), _MAX_EMBEDDED if is_embedded else _MAX_PATHS)
    for row in np.linspace(0, len(listed) - 1, limit).round().astype(int) if listed else ():
        try:
            found.add(read_header(listed[row]), listed[row])
        except AeframeError:
            # Decoding the file raises the error again, or skips the file.
            continue
    return found


def describe_files(who: str, splits: Mapping[str, Files], notes: Notes) -> dict[str, Any]:
    """Return what `Dataset.describe` returns for image files, and note how they differ.

    Height and width are those of the first training image that can be decoded. If there are grey and colour images, the
    shape is that of colour.

    Raises:
        AeframeError: No image can be decoded; the message includes the error of the first.
    """
    shape = first_shape(who, splits["train"].files)
    found = survey(file for files in splits.values() for file in files.files)
    is_mixed = {shape[0], *found.bands} == {1, 3}
    shape = (3, *shape[1:]) if is_mixed else shape
    for sentence in survey_notes(found):
        notes.add(f"{who}: {sentence}")
    return {"shape": shape}


def survey_notes(found: Survey, channels: int | None = None) -> Iterable[str]:
    """Yield what is changed or left out when the files are read.

    Args:
        found: The headers.
        channels: The number of channels of a trained model; None in training.
    """
    num_grey, num_colour = found.bands[1], found.bands[3]
    if num_grey and num_colour and channels != 1:
        result = "without modality.channels all are read in colour" if channels is None else "all are read in colour"
        yield f"{num_grey} of {found.num_files} images are grey and {num_colour} have colour; {result}"
    elif num_colour and channels == 1:
        yield f"{num_colour} of {found.num_files} images have colour and are read as grey"
    if found.num_animations:
        yield f"{found.num_animations} of {found.num_files} images are animations, of which the first frame is read"
    if found.num_stacks:
        yield f"{found.num_stacks} of {found.num_files} images have several pages, of which the first is read"


def first_converted_shape(fit: Fit, files: Files) -> Shape:
    """Return the shape ``(C, H, W)`` of images after conversion, from the first one that can be decoded."""
    return fit.shape(first_shape("modality 'image'", files.files))


def first_shape(who: str, files: Iterable[ImageFile]) -> Shape:
    """Return the shape ``(C, H, W)`` of the first image that can be decoded.

    Raises:
        AeframeError: No image can be decoded; the message includes the error of the first.
    """
    return first_opened(
        files,
        lambda file: tuple(decode_values(file).pixels.shape),
        sentence=f"{who} has no image that can be decoded",
    )
