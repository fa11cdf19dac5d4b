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
from aeframe_image.arrays import layout_of, shared_pixels
from aeframe_image.decode import first_shape
from aeframe_image.pictures import Files, Picture, SharedStack

_CHANNELS = (1, 3)
_CHUNK_VALUES = 1 << 22
"""Number of values that are checked at a time."""


class ImageInMemory(MemoryDataset):
    """Images in memory: an array or tensor, or a list of pictures of PIL or of arrays.

    An array has the shape ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)`` with C = 1 or 3, and values of uint8,
    bool, or floats in [0, 1]. It is shared, not copied, except an array of bool; of a memory map only the images of a
    batch are read. If images are resized, the resized ones are kept in memory up to 2 GiB; above, each batch is
    resized when it is read.

    A list has pictures of any mode, converted as those in files, or arrays of one image each. Images of different sizes
    need ``modality.size``, and a mix of grey and colour images needs ``modality.channels``. Arrays of different shapes
    are uint8 or bool. Images of a list are converted once if they fit into 2 GiB, and otherwise in each epoch.

    A float array ``(N, H, W)`` is taken for rows of numbers, unless ``modality="image"`` is named.

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
            return _is_bytes(x)
        return x.ndim == 4 and (_is_bytes(x) or _is_float(x)) and (x.shape[1] in _CHANNELS or x.shape[3] in _CHANNELS)

    def read(self, x: Any, labels: Tensor | None) -> SharedStack | Files:
        raw = raw_images(x)
        raw.labels = labels
        return raw

    def describe_raw(self, train: SharedStack | Files) -> Mapping[str, Any]:
        return {"shape": train.shape if isinstance(train, SharedStack) else first_shape("fit: x", train.files)}


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
    if not (_is_bytes(array) or _is_float(array)):
        raise AeframeError(
            f"x has dtype {array.dtype}, expected uint8, bool, or floats in [0, 1]; if its values are 0 to 255, pass "
            "x.astype('uint8')"
        )
    layout, _ = layout_of("x", array.shape)
    if _is_float(array):
        _check_range(array)
    return SharedStack(shared_pixels(array, layout))


def stacked_arrays(items: list[Any] | tuple[Any, ...]) -> NDArray[Any] | None:
    """Return a list of arrays or tensors of one shape and type as one array; None for any other list."""
    if not items or not all(_is_array(item) for item in items):
        return None
    arrays = [as_array(item) for item in items]
    if any(array.shape != arrays[0].shape or array.dtype != arrays[0].dtype for array in arrays):
        return None
    return np.stack(arrays)


def _check_range(array: NDArray[Any]) -> None:
    """Raise AeframeError for the first image with a value outside [0, 1]."""
    size = max(1, _CHUNK_VALUES // max(1, array[0].size))
    for start in range(0, len(array), size):
        chunk = array[start : start + size]
        # The negation makes NaN count as outside.
        if chunk.min() >= 0 and chunk.max() <= 1:
            continue
        flat = chunk.reshape(len(chunk), -1)
        row = int((~((flat >= 0) & (flat <= 1)).all(1)).argmax())
        low, high = float(flat[row].min()), float(flat[row].max())
        if not np.isfinite([low, high]).all():
            step = "fill missing and infinite values, or drop the image"
        elif low >= 0 and high <= 255:
            step = "divide by 255"
        elif low >= -1 and high <= 1:
            step = "pass (x + 1) / 2, and modality={'name': 'image', 'domain': 'signed'} to train on [-1, 1]"
        else:
            step = "scale them, or pass modality='vector' for numbers of any range"
        raise AeframeError(
            f"x[{start + row}] has values from {low:g} to {high:g}, expected floats in [0, 1] or uint8; {step}"
        )


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or is_tensor(x)


def _is_image_array(x: Any) -> bool:
    """Return whether x is an array of one image, by its type and shape."""
    if not _is_array(x):
        return False
    if x.ndim == 2:
        return _is_bytes(x)
    return x.ndim == 3 and (_is_bytes(x) or _is_float(x)) and (x.shape[0] in _CHANNELS or x.shape[2] in _CHANNELS)


def _is_bytes(x: Any) -> bool:
    return str(x.dtype).removeprefix("torch.") in ("uint8", "bool")


def _is_float(x: Any) -> bool:
    return bool(x.is_floating_point()) if is_tensor(x) else x.dtype.kind == "f"
