"""Images in NPZ and NPY files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.batch import Shape
from aeframe.data import Dataset
from aeframe.errors import AeframeError, did_you_mean
from aeframe_image.pictures import RawSplits, Stack
from aeframe_image.split import Shares

Array = NDArray[Any]
_WORDS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
_WHOLE = ("x", "X", "images", "image", "data", "arr_0")
_WHOLE_LABELS = ("y", "Y", "labels", "label", "targets", "target")


def _image_keys(split: str) -> list[str]:
    return [form.format(word) for word in _WORDS[split] for form in ("x_{}", "X_{}", "{}_images", "{}_x", "{}")]


def _label_keys(split: str) -> list[str]:
    return [form.format(word) for word in _WORDS[split] for form in ("y_{}", "Y_{}", "{}_labels", "{}_y")]


class ArrayFile:
    """A NPZ or NPY file of images ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``, with C = 1 or 3.

    Values are uint8, bool, or floats in [0, 1]. In a NPZ, ``x_train`` (``train_images``, ``train``, ...), the same
    with ``val`` and with ``test`` are splits, and ``x`` or ``images`` or a single array is all there is; ``y...`` and
    ``..._labels`` beside them are labels. `key` names the array where it is called something else.
    """

    def __init__(self, path: Path, *, who: str, key: str | None = None) -> None:
        self.path, self.who = path, who
        if not path.is_file():
            raise AeframeError(f"{who}: there is no file '{path}'; give the path of a NPZ or NPY file")
        if path.suffix.lower() not in (".npz", ".npy"):
            raise AeframeError(f"{who} reads NPZ and NPY files, found '{path}'; save the images with numpy.savez")
        self.names = self._names()
        self.keys = self._keys(key)
        """The array of each split, by name; ``train`` alone where the file has no splits."""

    def shape(self) -> Shape:
        """Return the shape ``(C, H, W)`` of the training images, from the header alone."""
        shape, dtype = self._header(self.keys["train"])
        where = self._where(self.keys["train"])
        self._check_dtype(where, dtype)
        return _layout(where, shape)[1]

    def stacks(self) -> dict[str, Stack]:
        """Load the splits that the file has, checked."""
        return {split: self._stack(split, key) for split, key in self.keys.items()}

    def _stack(self, split: str, key: str) -> Stack:
        where = self._where(key)
        array = self._load(key)
        self._check_dtype(where, array.dtype)
        pixels = _pixels(where, array)
        names = _label_keys(split) + (list(_WHOLE_LABELS) if len(self.keys) == 1 else [])
        label_key = _first(names, [name for name in self.names if name != key])
        if label_key is None:
            return Stack(pixels)
        labels = self._load(label_key)
        # MedMNIST and others keep labels as a column.
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.shape != (len(pixels),) or labels.dtype.kind not in "iub":
            raise AeframeError(
                f"{self._where(label_key)} is {labels.dtype} {tuple(labels.shape)}, expected whole numbers "
                f"({len(pixels)},), one label for each image of '{key}'; correct or remove it"
            )
        return Stack(pixels, torch.from_numpy(labels.astype(np.int64)))

    def _keys(self, key: str | None) -> dict[str, str]:
        if key is not None:
            if key not in self.names:
                raise AeframeError(
                    f"{self.who}: '{self.path}' has no array '{key}'{did_you_mean(key, self.names)}; "
                    f"it has {', '.join(self.names)}"
                )
            return {"train": key}
        found = {split: name for split in _WORDS if (name := _first(_image_keys(split), self.names)) is not None}
        if "train" in found:
            return found
        whole = _first(_WHOLE, self.names) or (self.names[0] if len(self.names) == 1 else None)
        if whole is None:
            raise AeframeError(
                f"{self.who}: '{self.path}' has arrays {', '.join(self.names) or '(none)'}, expected 'x_train' (with "
                "'x_val', 'x_test') or 'x'; name the images with data.key=..."
            )
        return {"train": whole}

    def _where(self, key: str) -> str:
        return f"{self.who}: '{self.path}'" if self.path.suffix.lower() == ".npy" else f"{self.who}: array '{key}'"

    # -- bytes ---------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        if self.path.suffix.lower() == ".npy":
            return ["arr_0"]
        try:
            with zipfile.ZipFile(self.path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        except (OSError, zipfile.BadZipFile) as error:
            raise self._unreadable(error) from error

    def _header(self, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        try:
            if self.path.suffix.lower() == ".npy":
                array = np.load(self.path, mmap_mode="r", allow_pickle=False)
                return array.shape, array.dtype
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                return shape, dtype
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._unreadable(error) from error

    def _load(self, key: str) -> Array:
        try:
            loaded = np.load(self.path, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                array: Array = loaded[key]
                return array
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> AeframeError:
        return AeframeError(
            f"{self.who}: '{self.path}' cannot be read ({str(error) or type(error).__name__}); "
            "save it again with numpy.savez, without objects"
        )

    def _check_dtype(self, where: str, dtype: np.dtype[Any]) -> None:
        if dtype != np.uint8 and dtype.kind not in "bf":
            raise AeframeError(
                f"{where} has dtype {dtype}, expected uint8, bool, or floats in [0, 1]; convert it and save it again"
            )


def _first(wanted: Iterable[str], names: Iterable[str]) -> str | None:
    known = set(names)
    return next((name for name in wanted if name in known), None)


def _layout(where: str, shape: tuple[int, ...]) -> tuple[str, Shape]:
    """Return which layout a stack of images has, and the shape ``(C, H, W)`` of one."""
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
    layout, _ = _layout(where, array.shape)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
        # Written so that NaN counts as outside.
        bad = ~((array >= 0) & (array <= 1)).reshape(len(array), -1).all(axis=1)
        if bad.any():
            row = int(bad.argmax())
            raise AeframeError(
                f"{where}, row {row}, has values from {array[row].min():g} to {array[row].max():g}, expected floats in "
                "[0, 1]; scale them, or save whole numbers 0 to 255 as uint8"
            )
    if layout == "NHWC":
        array = array.transpose(0, 3, 1, 2)
    pixels = torch.from_numpy(np.ascontiguousarray(array))
    return pixels.unsqueeze(1) if layout == "NHW" else pixels


class ImageNPZ(Dataset):
    """A NPZ or NPY file of images ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``: uint8, or floats in [0, 1].

    In a NPZ, ``x_train``, ``x_val`` and ``x_test`` are the splits, ``y_...`` the labels; what is missing of them is
    drawn from the training images by the shares `validation` and `test` and by `seed`. A file with other names needs
    `key`, the name of the array of images.
    """

    modality = "image"

    def __init__(
        self, *, path: str, key: str | None = None, validation: float = 0.1, test: float = 0.1, seed: int = 0
    ) -> None:
        self.path, self.key = Path(path).expanduser(), key
        self.who = "dataset 'image_npz'"
        self.shares = Shares(f"{self.who} at '{path}'", validation=validation, test=test, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        return {"shape": self._file().shape()}

    def load(self) -> RawSplits:
        return self.shares.complete(self._file().stacks())

    def _file(self) -> ArrayFile:
        return ArrayFile(self.path, who=self.who, key=self.key)
