"""Images in NPZ and NPY files; the dataset ``image_npz``."""

from __future__ import annotations

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
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.pictures import RawSplits, Stack


class ArrayFile(SplitArrays):
    """A NPZ or NPY file of images ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``, with C = 1 or 3.

    Values are uint8, bool, or floats in [0, 1].
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
            AeframeError: A damaged file, or an array of another type, shape or value range.
        """
        pixels = {split: _pixels(self.where(key), self.load(key)) for split, key in self.keys.items()}
        return {split: Stack(images, self.labels(split, len(images))) for split, images in pixels.items()}


def _check_dtype(where: str, dtype: np.dtype[Any]) -> None:
    if dtype != np.uint8 and dtype.kind not in "bf":
        raise AeframeError(
            f"{where} has dtype {dtype}, expected uint8, bool, or floats in [0, 1]; convert it and save it again"
        )


def layout_of(where: str, shape: tuple[int, ...]) -> tuple[str, Shape]:
    """Return the layout of an array of images (``NHW``, ``NCHW`` or ``NHWC``), and the shape ``(C, H, W)`` of one."""
    if len(shape) == 3 and 0 not in shape:
        return "NHW", (1, *shape[1:])
    if len(shape) == 4 and 0 not in shape:
        first, last = shape[1] in (1, 3), shape[3] in (1, 3)
        if first and not last:
            return "NCHW", shape[1:]
        if last and not first:
            return "NHWC", (shape[3], *shape[1:3])
    raise AeframeError(
        f"{where} has shape {shape}, expected images (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3; "
        "reshape it"
    )


def _pixels(where: str, array: Array) -> Tensor:
    """Return an array of images as ``(N, C, H, W)``, uint8 or float32 in [0, 1]; `where` begins error messages."""
    _check_dtype(where, array.dtype)
    layout, _ = layout_of(where, array.shape)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
        # The negation makes NaN count as outside.
        is_outside = ~((array >= 0) & (array <= 1)).reshape(len(array), -1).all(axis=1)
        if is_outside.any():
            row = int(is_outside.argmax())
            raise AeframeError(
                f"{where}, row {row}, has values from {array[row].min():g} to {array[row].max():g}, expected floats in "
                "[0, 1]; scale them, or save whole numbers 0 to 255 as uint8"
            )
    if layout == "NHWC":
        array = array.transpose(0, 3, 1, 2)
    pixels = torch.from_numpy(np.ascontiguousarray(array))
    return pixels.unsqueeze(1) if layout == "NHW" else pixels


def shared_pixels(array: NDArray[Any], layout: str) -> Tensor:
    """Return an array of images as ``(N, C, H, W)`` without copying it, except an array of bool.

    Args:
        array: uint8, bool or floats.
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
    """A NPZ or NPY file of images ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``: uint8, or floats in [0, 1].

    In a NPZ, the arrays ``x_train``, ``x_val`` and ``x_test`` are the splits and ``y_train``, ... their labels. A
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
        return self.splitter.complete(self._file().stacks(), self.split_record)

    def _file(self) -> ArrayFile:
        return ArrayFile(self.path, who=self.who, key=self.key)
