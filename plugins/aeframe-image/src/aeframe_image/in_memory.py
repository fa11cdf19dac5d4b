"""The dataset ``image_in_memory``: images that a program has in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.in_memory import MemoryDataset
from aeframe.data.samples import as_array, described, is_picture, is_tensor
from aeframe.errors import AeframeError
from aeframe_image.arrays import first_outside, layout_of, shared_pixels
from aeframe_image.pictures import Files, Picture, SharedStack
from aeframe_image.survey import describe_files

_CHANNELS = (1, 3)
_MAX_BANDS = 16
"""More bands than these are not recognised as such by the shape alone."""


class ImageInMemory(MemoryDataset):
    """Images in memory: an array or tensor, or a list of pictures of PIL or of arrays.

    An array has the shape ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)``, and values of bool, uint8, wider
    integers (black is 0, and white the largest value of the bits that the training images use) or floats in [0, 1];
    ``modality.range`` sets other values of black and white. It is shared, not copied, except an array of bool; of a
    memory map only the images of a batch are read. If images are resized, the resized ones are kept in memory up to 2
    GiB; above, each batch is resized when it is read.

    A list has pictures of any mode, converted as those in files, or arrays of one image each. Images of different sizes
    need ``modality.size``; if some are grey and some have colour, all are read in colour. Images of a list are
    converted once if they fit into 2 GiB, and otherwise in each epoch.

    A float array ``(N, H, W)`` is taken for rows of numbers, and a float array or an array ``(N, C, H, W)`` with other
    C than 1 and 3 for other data, unless ``modality="image"`` is named.

    Args:
        samples: The samples by split, injected.
        validation: Fraction of the images for validation, if no validation split was passed.
        test: Fraction of the images for testing, if no test split was passed.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "image"
    noun: ClassVar[str] = "images"

    @staticmethod
    def accepts(x: Any) -> bool:
        if isinstance(x, (list, tuple)):
            return len(x) > 0 and all(is_picture(item) or _is_image_array(item) for item in x)
        if not _is_array(x):
            return False
        if x.ndim == 3:
            return _is_pixels(x)
        if x.ndim != 4 or not (_is_pixels(x) or _is_float(x)):
            return False
        # The last axis of a video is its width.
        has_bands = _is_pixels(x) and x.shape[3] <= _MAX_BANDS and x.shape[3] < min(x.shape[1:3])
        return has_bands or x.shape[1] in _CHANNELS or x.shape[3] in _CHANNELS

    def read(self, x: Any, labels: Tensor | None) -> SharedStack | Files:
        raw = raw_images(x)
        raw.labels = labels
        return raw

    def describe_raw(self, train: SharedStack | Files) -> Mapping[str, Any]:
        if isinstance(train, SharedStack):
            return {"shape": train.shape}
        return describe_files("fit: x", {"train": train}, self.notes)


def raw_images(x: Any) -> SharedStack | Files:
    """Return images of the forms that `ImageInMemory` describes; arrays are shared, and pictures not converted yet.

    Raises:
        AeframeError: Another type, shape, or range of values.
    """
    if isinstance(x, (list, tuple)):
        stacked = stacked_arrays(x)
        if stacked is None:
            for number, item in enumerate(x):
                if not is_picture(item) and not _is_array(item):
                    raise AeframeError(
                        f"x[{number}] is {described(item)}, expected a picture of PIL or an array (H, W), (H, W, C) or "
                        "(C, H, W); leave it out or convert it"
                    )
            return Files([Picture(item, number) for number, item in enumerate(x)])
        x = stacked
    if not _is_array(x):
        raise AeframeError(
            f"x is {described(x)}, expected images: an array (N, H, W), (N, C, H, W) or (N, H, W, C), or a list of "
            "pictures of PIL or of arrays"
        )
    array = as_array(x)
    # Kinds of dtype: booleans, unsigned and signed integers, floats.
    if array.dtype.kind not in "buif":
        raise AeframeError(
            f"x has dtype {array.dtype}, expected numbers; if its values are 0 to 255, pass x.astype('uint8')"
        )
    layout, _ = layout_of("x", array.shape)
    outside_unit = _outside_unit(array) if array.dtype.kind == "f" else None
    return SharedStack(shared_pixels(array, layout), outside_unit=outside_unit)


def stacked_arrays(items: list[Any] | tuple[Any, ...]) -> NDArray[Any] | None:
    """Return a list of arrays or tensors of one shape and type as one array; None for any other list."""
    if not items or not all(_is_array(item) for item in items):
        return None
    arrays = [as_array(item) for item in items]
    if any(array.shape != arrays[0].shape or array.dtype != arrays[0].dtype for array in arrays):
        return None
    return np.stack(arrays)


def _outside_unit(array: NDArray[Any]) -> tuple[str, str] | None:
    """Return what is wrong with floats outside [0, 1], and the next step; None if there are none.

    Raises:
        AeframeError: A value is not finite.
    """
    found = first_outside(array)
    if found is None:
        return None
    row, low, high = found
    problem = f"x[{row}] has values from {low:g} to {high:g}, expected floats in [0, 1] or uint8"
    if not np.isfinite([low, high]).all():
        raise AeframeError(f"{problem}; fill missing and infinite values, or drop the image")
    levels = f"set the values of black and white: modality={{'name': 'image', 'range': [{low:g}, {high:g}]}}"
    if low >= 0 and high <= 255:
        return problem, f"divide by 255, or {levels}"
    if low >= -1 and high <= 1:
        return problem, "pass (x + 1) / 2, and modality={'name': 'image', 'domain': 'signed'} to train on [-1, 1]"
    return problem, f"{levels}, or pass modality='vector' for numbers of any range"


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or is_tensor(x)


def _is_image_array(x: Any) -> bool:
    """Return whether x is an array of one image, by its type and shape."""
    if not _is_array(x):
        return False
    if x.ndim == 2:
        return _is_pixels(x)
    return x.ndim == 3 and (_is_pixels(x) or _is_float(x)) and (x.shape[0] in _CHANNELS or x.shape[2] in _CHANNELS)


def _is_pixels(x: Any) -> bool:
    """Return whether the values are of a type that is common for images only."""
    return str(x.dtype).removeprefix("torch.") in ("uint8", "uint16", "bool")


def _is_float(x: Any) -> bool:
    return bool(x.is_floating_point()) if is_tensor(x) else x.dtype.kind == "f"
