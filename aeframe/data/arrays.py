"""Arrays in NPY and NPZ files. Files with pickled objects are refused."""

from __future__ import annotations

import math
import struct
import tokenize
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

from aeframe.data.limits import check_memory
from aeframe.errors import AeframeError, did_you_mean
from aeframe.types import Shape

Array = NDArray[Any]

_READ_ERRORS = (
    ValueError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    # A header that is no literal, or a compression that zipfile does not know.
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    # A member of an archive that its directory does not list, and a size beyond 64 bits.
    KeyError,
    OverflowError,
)
_MAX_HEADER_BYTES = 1 << 16
_SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
_LABEL_NAMES = ("y", "Y", "labels", "label", "targets", "target")
_FACTOR_NAMES = ("factors", "latents_classes")


class ArrayFile:
    """The arrays of an NPY or NPZ file, by name.

    Args:
        path: An existing file; NPZ if it ends in ``.npz``, otherwise NPY.
        who: The dataset or modality, for error messages; may be empty.

    Raises:
        AeframeError: The NPZ file is damaged.
    """

    def __init__(self, path: Path, *, who: str = "") -> None:
        self.path, self.who = path, who
        self.is_npz = path.suffix.lower() == ".npz"
        self.names = self._names()
        """Names of all arrays; ``arr_0`` for an NPY file."""

    def header(self, name: str) -> tuple[Shape, np.dtype[Any]]:
        """Return shape and dtype of an array, without reading its values."""
        shape, dtype, _ = self._sizes(name)
        return shape, dtype

    def load(self, name: str, *, mapped: bool = False) -> Array:
        """Read an array; with `mapped` that of an NPY file is a memory map, of which only used rows are read.

        Raises:
            AeframeError: The array is damaged, or holds Python objects.
        """
        self._check_size(name, mapped=mapped)
        try:
            with self.path.open("rb") as file:
                is_mapped = mapped and not self.is_npz
                loaded = np.load(self.path, mmap_mode="r") if is_mapped else np.load(file, allow_pickle=False)
                array: Array = loaded[name] if self.is_npz else loaded
        except _READ_ERRORS as error:
            raise self._unreadable(error) from error
        return array

    def _sizes(self, name: str) -> tuple[Shape, np.dtype[Any], int]:
        """Return shape and dtype of an array as its header states them, and the bytes of its values in the file."""
        try:
            if self.is_npz:
                with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as member:
                    shape, dtype = _header(member)
                    return shape, dtype, archive.getinfo(f"{name}.npy").file_size - member.tell()
            with self.path.open("rb") as file:
                shape, dtype = _header(file)
                return shape, dtype, self.path.stat().st_size - file.tell()
        except _READ_ERRORS as error:
            raise self._unreadable(error) from error

    def _check_size(self, name: str, *, mapped: bool) -> None:
        """Raise AeframeError for an array that is cut off, or larger than the memory."""
        shape, dtype, num_bytes = self._sizes(name)
        stated = math.prod(shape) * dtype.itemsize
        # The size of Python objects is unknown; they are refused when they are read.
        if stated > num_bytes and not dtype.hasobject:
            raise self._unreadable(
                ValueError(f"array '{name}' of shape {shape} needs {stated} bytes, and the file has {num_bytes}")
            )
        if not mapped or self.is_npz:
            check_memory(f"'{self.path}'", stated, f"array '{name}' of shape {shape}")

    def where(self, name: str) -> str:
        """Return how error messages name an array."""
        return f"{self.who}: array '{name}'" if self.is_npz else f"{self.who}: '{self.path}'"

    def _names(self) -> list[str]:
        if not self.is_npz:
            return ["arr_0"]
        try:
            with zipfile.ZipFile(self.path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        except _READ_ERRORS as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> AeframeError:
        return AeframeError(
            f"{self.who}{': ' * bool(self.who)}'{self.path}' cannot be read ({str(error) or type(error).__name__}); "
            f"save it again with numpy.{'savez' if self.is_npz else 'save'}, without objects"
        )


class SplitArrays(ArrayFile):
    """An NPZ or NPY file of samples; the names of its arrays determine splits and labels.

    - Splits: ``x_train``, ``X_train``, ``train_images`` (with the plural of `nouns`), ``train_x`` or ``train``, and the
      same with ``val`` and ``test``.
    - Without splits: ``x``, ``images``, ``data``, or a single array of any name.
    - Labels: ``y_train``, ``train_labels``; ``y``, ``labels``, ``targets`` if there are no splits.
    - Known factors of variation: ``factors_train``, ``train_factors``; ``factors`` or ``latents_classes`` (the name in
      dSprites) if there are no splits.

    Args:
        path: The file.
        who: The dataset or modality, for error messages.
        nouns: Singular and plural of the word for a sample, such as ``("image", "images")``, and further names for
            arrays of samples.
        key: Name of the array of samples, if it is none of the names above.

    Raises:
        AeframeError: The file does not exist, has another format, is damaged, or has no array of samples.
    """

    def __init__(self, path: Path, *, who: str, nouns: tuple[str, str, *tuple[str, ...]], key: str | None) -> None:
        self.singular, self.plural = nouns[:2]
        if not path.is_file():
            raise AeframeError(f"{who}: there is no file '{path}'; set the path of an NPZ or NPY file")
        if path.suffix.lower() not in (".npz", ".npy"):
            raise AeframeError(
                f"{who} reads NPZ and NPY files, found '{path}'; save the {self.plural} with numpy.savez"
            )
        super().__init__(path, who=who)
        self.keys = self._keys(key, nouns)
        """Name of the array of each split; only ``train`` if the file has no splits."""

    def labels(self, split: str, num: int) -> Tensor | None:
        """Return the labels ``(num,)`` int64 of a split, or None if it has none.

        Raises:
            AeframeError: The labels are not integers, or their number is not `num`.
        """
        key = self.keys[split]
        same = (f"y{key[1:]}",) if key.startswith("x") else ()
        name = self._beside(split, (*same, "y_{}", "Y_{}", "{}_labels", "{}_y"), _LABEL_NAMES)
        if name is None:
            return None
        labels = self.load(name)
        # MedMNIST and others store labels as a column.
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        # Kinds of dtype: signed and unsigned integers, booleans.
        if labels.shape != (num,) or labels.dtype.kind not in "iub":
            raise AeframeError(
                f"{self.where(name)} is {labels.dtype} {tuple(labels.shape)}, expected whole numbers ({num},), "
                f"one label for each {self.singular} of '{key}'; correct or remove it"
            )
        return torch.from_numpy(labels.astype(np.int64))

    def factors(self, split: str, num: int) -> Tensor | None:
        """Return the known factors of variation ``(num, F)`` int64 of a split, or None if it has none.

        Raises:
            AeframeError: They are not integers, or their number is not `num`.
        """
        name = self._beside(split, ("factors_{}", "{}_factors"), _FACTOR_NAMES)
        if name is None:
            return None
        factors = self.load(name)
        if factors.ndim != 2 or len(factors) != num or factors.dtype.kind not in "iub":
            raise AeframeError(
                f"{self.where(name)} is {factors.dtype} {tuple(factors.shape)}, expected whole numbers ({num}, F), the "
                f"category of each of F factors for each {self.singular} of '{self.keys[split]}'; correct or remove it"
            )
        return torch.from_numpy(factors.astype(np.int64))

    def _beside(self, split: str, forms: Iterable[str], names: Iterable[str]) -> str | None:
        """Return the name of the array that belongs to a split: one of `forms`, or `names` if there are no splits."""
        of_split = [form.format(split_name) for split_name in _SPLIT_NAMES[split] for form in forms]
        return _first([*of_split, *(names if len(self.keys) == 1 else ())], set(self.names) - {self.keys[split]})

    def _keys(self, key: str | None, nouns: tuple[str, ...]) -> dict[str, str]:
        """Return the name of the array of each split; see the class."""
        if key is not None:
            if key not in self.names:
                raise AeframeError(
                    f"{self.who}: '{self.path}' has no array '{key}'{did_you_mean(key, self.names)}; "
                    f"it has {', '.join(self.names)}"
                )
            return {"train": key}
        forms = ("x_{}", "X_{}", *(f"{{}}_{noun}" for noun in nouns), "{}_x", "{}")
        keys = {}
        for split, split_names in _SPLIT_NAMES.items():
            name = _first([form.format(split_name) for split_name in split_names for form in forms], self.names)
            if name is not None:
                keys[split] = name
        if "train" in keys:
            return keys
        only_array = self.names[0] if len(self.names) == 1 else None
        name = _first(("x", "X", *nouns, "data", "arr_0"), self.names) or only_array
        if name is None:
            raise AeframeError(
                f"{self.who}: '{self.path}' has arrays {', '.join(self.names) or '(none)'}, expected 'x_train' (with "
                f"'x_val', 'x_test') or 'x'; name the {self.plural} with data.key=..."
            )
        return {"train": name}


def _first(wanted: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the first of the `wanted` names that is among `names`, or None."""
    known = set(names)
    return next((name for name in wanted if name in known), None)


def _header(file: Any) -> tuple[Shape, np.dtype[Any]]:
    version = npy_format.read_magic(file)
    if version != (1, 0):
        # NumPy allocates as many bytes as such a header claims to have, up to 4 GB, before it reads them.
        length = int.from_bytes(file.read(4), "little")
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"its header states a length of {length} bytes")
        file.seek(-4, 1)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read(file)
    if any(size < 0 for size in shape):
        raise ValueError(f"its header states the shape {shape}")
    return tuple(shape), dtype
