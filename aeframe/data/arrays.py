"""NPY and NPZ files, array by array. Nothing that holds pickled objects is opened."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError, did_you_mean
from aeframe.types import Shape

Array = NDArray[Any]

_BROKEN = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
_WORDS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
_LABELS = ("y", "Y", "labels", "label", "targets", "target")


class ArrayFile:
    """A file of arrays by name.

    Args:
        path: A file that exists; one that ends in ``.npz`` has several arrays, any other is NPY.
        who: The dataset or modality, for messages; empty where there is none to name.

    Raises:
        AeframeError: A NPZ file that is damaged.
    """

    def __init__(self, path: Path, *, who: str = "") -> None:
        self.path, self.who = path, who
        self.zipped = path.suffix.lower() == ".npz"
        self.names = self._names()
        """Of all arrays; that of a NPY file is ``arr_0``."""

    def header(self, name: str) -> tuple[Shape, np.dtype[Any]]:
        """Return shape and type of an array, without reading it."""
        try:
            if self.zipped:
                with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as member:
                    return _header(member)
            with self.path.open("rb") as file:
                return _header(file)
        except _BROKEN as error:
            raise self._unreadable(error) from error

    def load(self, name: str) -> Array:
        """Return an array.

        Raises:
            AeframeError: It is damaged, or holds objects.
        """
        try:
            with self.path.open("rb") as file:
                opened = np.load(file, allow_pickle=False)
                array: Array = opened[name] if self.zipped else opened
        except _BROKEN as error:
            raise self._unreadable(error) from error
        return array

    def where(self, name: str) -> str:
        """Return what a sentence about an array begins with."""
        return f"{self.who}: array '{name}'" if self.zipped else f"{self.who}: '{self.path}'"

    def _names(self) -> list[str]:
        if not self.zipped:
            return ["arr_0"]
        try:
            with zipfile.ZipFile(self.path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        except _BROKEN as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> AeframeError:
        return AeframeError(
            f"{self.who}{': ' * bool(self.who)}'{self.path}' cannot be read ({str(error) or type(error).__name__}); "
            "save it again with numpy.savez, without objects"
        )


class SplitArrays(ArrayFile):
    """A NPZ or NPY file of samples, in which names say what is a split and what are labels.

    ``x_train`` (``X_train``, ``train_images``, ``train_x``, ``train``), the same with ``val`` and with ``test`` are
    splits; ``x``, ``images``, ``data`` or a single array is all there is. ``y_train``, ``train_labels`` and ``y``,
    ``labels`` beside them are labels.

    Args:
        path: The file.
        who: The dataset or modality, for messages.
        words: What one sample is called, several, and in other files: ``("image", "images")``.
        key: The array of samples, where it is called something else.

    Raises:
        AeframeError: No file, one of another kind or damaged, or no array with such a name.
    """

    def __init__(self, path: Path, *, who: str, words: tuple[str, str, *tuple[str, ...]], key: str | None) -> None:
        self.one, self.many = words[:2]
        if not path.is_file():
            raise AeframeError(f"{who}: there is no file '{path}'; give the path of a NPZ or NPY file")
        if path.suffix.lower() not in (".npz", ".npy"):
            raise AeframeError(f"{who} reads NPZ and NPY files, found '{path}'; save the {self.many} with numpy.savez")
        super().__init__(path, who=who)
        self.keys = self._keys(key, words)
        """The array of each split, by name; ``train`` alone where the file has no splits."""

    def labels(self, split: str, num: int) -> Tensor | None:
        """Return the labels ``(num,)`` int64 of a split, or None where it has none.

        Raises:
            AeframeError: They are no whole numbers, or not as many.
        """
        key = self.keys[split]
        names = [form.format(word) for word in _WORDS[split] for form in ("y_{}", "Y_{}", "{}_labels", "{}_y")]
        if key.startswith("x"):
            names.insert(0, f"y{key[1:]}")
        name = _first([*names, *(_LABELS if len(self.keys) == 1 else ())], set(self.names) - {key})
        if name is None:
            return None
        labels = self.load(name)
        # MedMNIST and others keep labels as a column.
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.shape != (num,) or labels.dtype.kind not in "iub":
            raise AeframeError(
                f"{self.where(name)} is {labels.dtype} {tuple(labels.shape)}, expected whole numbers ({num},), "
                f"one label for each {self.one} of '{key}'; correct or remove it"
            )
        return torch.from_numpy(labels.astype(np.int64))

    def _keys(self, key: str | None, words: tuple[str, ...]) -> dict[str, str]:
        if key is not None:
            if key not in self.names:
                raise AeframeError(
                    f"{self.who}: '{self.path}' has no array '{key}'{did_you_mean(key, self.names)}; "
                    f"it has {', '.join(self.names)}"
                )
            return {"train": key}
        forms = ("x_{}", "X_{}", *(f"{{}}_{word}" for word in words), "{}_x", "{}")
        found = {
            split: name
            for split, splits in _WORDS.items()
            if (name := _first([form.format(word) for word in splits for form in forms], self.names)) is not None
        }
        if "train" in found:
            return found
        alone = self.names[0] if len(self.names) == 1 else None
        whole = _first(("x", "X", *words, "data", "arr_0"), self.names) or alone
        if whole is None:
            raise AeframeError(
                f"{self.who}: '{self.path}' has arrays {', '.join(self.names) or '(none)'}, expected 'x_train' (with "
                f"'x_val', 'x_test') or 'x'; name the {self.many} with data.key=..."
            )
        return {"train": whole}


def _first(wanted: Iterable[str], names: Iterable[str]) -> str | None:
    known = set(names)
    return next((name for name in wanted if name in known), None)


def _header(file: Any) -> tuple[Shape, np.dtype[Any]]:
    version = npy_format.read_magic(file)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read(file)
    return tuple(shape), dtype
