"""Images in NPZ and NPY files; the dataset ``image_npz``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset
from aeframe.data.arrays import Array, SplitArrays
from aeframe.data.limits import check_memory
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.pictures import RawSplits, Stack

_CHUNK_VALUES = 1 << 22
"""Number of values that are checked at a time."""


class ArrayFile(SplitArrays):
    """A NPZ or NPY file of images ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``, with any number C of bands.

    Values are bool, integers or floats.
    """

    def __init__(self, path: Path, *, who: str, key: str | None = None) -> None:
        super().__init__(path, who=who, nouns=("image", "images"), key=key)

    def shape(self) -> Shape:
        """Return the shape ``(C, H, W)`` of the training images; reads only the header."""
        where = self.where(self.keys["train"])
        shape, dtype = self.header(self.keys["train"])
        _check_dtype(where, dtype)
        return layout_of(where, shape)[1]

    def stacks(self) -> dict[str, Stack]:
        """Load and check the splits that the file has.

        Raises:
            AeframeError: A damaged file, an array above the limits, or one of another type or shape, or with values
                that are not finite.
        """
        for key in self.keys.values():
            shape, dtype = self.header(key)
            num_bytes = math.prod(shape) * max(dtype.itemsize, 4 * (dtype != np.uint8))
            check_memory(f"'{self.path}'", num_bytes, f"array '{key}' of shape {shape}")
        stacks = {split: _stack(self.where(key), self.load(key)) for split, key in self.keys.items()}
        for split, stack in stacks.items():
            stack.labels, stack.factors = self.labels(split, len(stack)), self.factors(split, len(stack))
        return stacks


def _check_dtype(where: str, dtype: np.dtype[Any]) -> None:
    # Kinds of dtype: booleans, unsigned and signed integers, floats.
    if dtype.kind not in "buif":
        raise AeframeError(f"{where} has dtype {dtype}, expected numbers; convert it and save it again")


def layout_of(where: str, shape: tuple[int, ...]) -> tuple[str, Shape]:
    """Return the layout of an array of images (``NHW``, ``NCHW`` or ``NHWC``), and the shape ``(C, H, W)`` of one.

    The axis of channels is the one of 1 or 3; or the one of another size than the other two; or the shortest.
    """
    if len(shape) == 3 and 0 not in shape:
        return "NHW", (1, *shape[1:])
    if len(shape) == 4 and 0 not in shape:
        _, first, middle, last = shape
        is_first, is_last = first in (1, 3), last in (1, 3)
        if not (is_first or is_last):
            is_first, is_last = middle == last != first, first == middle != last
        if not (is_first or is_last):
            is_first, is_last = first < min(middle, last), last < min(first, middle)
        if is_first != is_last:
            return ("NCHW", shape[1:]) if is_first else ("NHWC", (last, first, middle))
    raise AeframeError(
        f"{where} has shape {shape}, expected images (N, H, W), (N, H, W, C) or (N, C, H, W) with C channels, fewer "
        "than H and W; reshape it"
    )


def _stack(where: str, array: Array) -> Stack:
    """Return an array of images as a stack ``(N, C, H, W)``; `where` begins error messages."""
    _check_dtype(where, array.dtype)
    layout, _ = layout_of(where, array.shape)
    outside_unit = None
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
        found = first_outside(array)
        if found is not None:
            row, low, high = found
            outside_unit = (
                f"{where}, row {row}, has values from {low:g} to {high:g}, expected floats in [0, 1]",
                "scale them, save whole numbers 0 to 255 as uint8, or set the values of black and white, such as "
                f"modality.range=[{min(low, 0):g},{high:g}]",
            )
            _check_finite(where, row, low, high)
    pixels = shared_pixels(array, layout).contiguous()
    # torch computes little with unsigned integers of more than 8 bits.
    wider = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.float64}
    return Stack(pixels.to(wider.get(pixels.dtype, pixels.dtype)), outside_unit=outside_unit)


def first_outside(array: NDArray[Any]) -> tuple[int, float, float] | None:
    """Return the row, smallest and largest value of the first image with a value that is not finite, or else of the
    first with one outside [0, 1]; None if there is none.

    Args:
        array: Floats ``(N, ...)``, of which a chunk is read at a time.
    """
    size, outside = max(1, _CHUNK_VALUES // max(1, array[0].size)), None
    for start in range(0, len(array), size):
        chunk = array[start : start + size]
        # The negation makes NaN count as outside.
        if chunk.min() >= 0 and chunk.max() <= 1:
            continue
        flat = chunk.reshape(len(chunk), -1)
        for is_outside in (~np.isfinite(flat).all(1), ~((flat >= 0) & (flat <= 1)).all(1)):
            if is_outside.any():
                row = int(is_outside.argmax())
                found = start + row, float(flat[row].min()), float(flat[row].max())
                if not np.isfinite(found).all():
                    return found
                outside = outside or found
    return outside


def _check_finite(where: str, row: int, low: float, high: float) -> None:
    if not np.isfinite([low, high]).all():
        raise AeframeError(
            f"{where}, row {row}, has values from {low:g} to {high:g}, expected finite numbers; fill missing and "
            "infinite values, or drop the image"
        )


def shared_pixels(array: NDArray[Any], layout: str) -> Tensor:
    """Return an array of images as ``(N, C, H, W)`` without copying it, except an array of bool.

    Args:
        array: Numbers, or bool.
        layout: ``NHW``, ``NCHW`` or ``NHWC``.
    """
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    pixels = shared_tensor(array)
    if layout == "NHW":
        return pixels.unsqueeze(1)
    return pixels.permute(0, 3, 1, 2) if layout == "NHWC" else pixels


def shared_tensor(array: NDArray[Any]) -> Tensor:
    """Return a tensor, for reading only, that shares the memory of an array, also of a memory map."""
    if not array.dtype.isnative or any(stride < 0 for stride in array.strides):
        # torch has no other byte orders, and no steps backwards.
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        # The tensor is never written to.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


class ImageNPZ(Dataset):
    """A NPZ or NPY file of images ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` with C channels: bool, integers
    or floats.

    Integers of more than 8 bits are black at 0 and white at the largest value of the bits that the training images use;
    floats must be in [0, 1], unless ``modality.range`` sets the values of black and white.

    In a NPZ, the arrays ``x_train``, ``x_val`` and ``x_test`` are the splits, ``y_train``, ... their labels, and
    ``factors_train``, ... ``(N, F)`` their known factors of variation as categories (without splits ``factors``). A
    missing split is a random fraction (`validation`, `test`) of the training images, drawn with `seed`. For other array
    names, `key` is the name of the array of images.
    """

    modality = "image"

    def __init__(
        self, *, path: Path, key: str | None = None, validation: float = 0.1, test: float = 0.1, seed: int = 0
    ) -> None:
        self.path, self.key = Path(path).expanduser(), key
        self.who = "dataset 'image_npz'"
        self.splitter = RandomSplit(f"{self.who} at '{path}'", "images", validation=validation, test=test, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        return {"shape": self._file().shape()}

    def load(self) -> RawSplits:
        # `split_record` is inherited; it stores the drawn split, so that a resumed run uses the same one.
        splits = self.splitter.complete(self._file().stacks(), self.split_record)
        factors = splits["train"].factors
        self.factor_names = () if factors is None else tuple(f"factor {number}" for number in range(factors.shape[1]))
        return splits

    def _file(self) -> ArrayFile:
        return ArrayFile(self.path, who=self.who, key=self.key)
