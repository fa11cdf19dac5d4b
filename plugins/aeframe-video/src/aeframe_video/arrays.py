"""Clips in NPZ and NPY files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.batch import Shape
from aeframe.data import Dataset
from aeframe.errors import AeframeError, did_you_mean
from aeframe_video.clips import RawSplits, Shares, Stack

Array = NDArray[Any]
_WORDS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
_WHOLE = ("x", "videos", "clips", "arr_0")
_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile)
_DIGITS_LENGTH = 20
"""Frames of a clip of Moving MNIST, which the published file has as its first dimension."""


class ArrayFile:
    """A NPZ or NPY file of clips: ``(N, T, H, W)``, ``(N, T, H, W, C)`` or ``(N, T, C, H, W)``, with C = 1 or 3.

    Values are uint8, or bool. In a NPZ, ``x_train`` or ``train``, and the same with ``val`` and ``test``, are splits;
    ``x`` or ``videos`` or a single array is all there is. ``y...`` beside ``x...`` are labels. `key` names the array
    where it is called something else; `time_first` is for ``(T, N, H, W)``.
    """

    def __init__(self, path: Path, *, who: str, key: str | None = None, time_first: bool = False) -> None:
        self.path, self.who, self.time_first = path, who, time_first
        if not path.is_file():
            raise AeframeError(f"{who}: there is no file '{path}'; give the path of a NPZ or NPY file")
        if path.suffix.lower() not in (".npz", ".npy"):
            raise AeframeError(f"{who} reads NPZ and NPY files, found '{path}'; save the clips with numpy.savez")
        self.names = self._names()
        self.keys = self._keys(key)
        """The array of each split, by name; ``train`` alone where the file has no splits."""

    def describe(self) -> tuple[int, Shape]:
        """Return the frames of a training clip and the shape ``(C, H, W)`` of each, from the header alone."""
        key = self.keys["train"]
        try:
            with zipfile.ZipFile(self.path) if self._zipped else self.path.open("rb") as file:
                if isinstance(file, zipfile.ZipFile):
                    with file.open(f"{key}.npy") as entry:
                        shape, dtype = _header(entry)
                else:
                    shape, dtype = _header(file)
        except _BROKEN as error:
            raise self._unreadable(error) from error
        self._check_type(key, dtype)
        _, length, *frame = self._layout(key, shape)[1]
        return length, tuple(frame)

    def stacks(self) -> dict[str, Stack]:
        """Load the splits that the file has, checked."""
        return {split: self._stack(key) for split, key in self.keys.items()}

    def _stack(self, key: str) -> Stack:
        array = self._load(key)
        self._check_type(key, array.dtype)
        order, shape = self._layout(key, array.shape)
        if array.dtype == np.bool_:
            array = array.astype(np.uint8) * np.uint8(255)
        pixels = torch.from_numpy(np.ascontiguousarray(array.transpose(order))).reshape(shape)
        return Stack(pixels, self._labels(key, len(pixels)))

    def _labels(self, key: str, num: int) -> Tensor | None:
        name = f"y{key.removeprefix('x')}"
        if not key.startswith("x") or name not in self.names:
            return None
        labels = self._load(name)
        if labels.shape != (num,) or labels.dtype.kind not in "iub":
            raise AeframeError(
                f"{self.who}: array '{name}' is {labels.dtype} {tuple(labels.shape)}, expected whole numbers ({num},), "
                f"one label for each clip of '{key}'; correct or remove it"
            )
        return torch.from_numpy(labels.astype(np.int64))

    def _layout(self, key: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the order of the dimensions that gives ``(N, T, C, H, W)``, and that shape."""
        order: tuple[int, ...] | None = None
        if len(shape) == 4:
            order = (1, 0, 2, 3) if self.time_first else (0, 1, 2, 3)
        elif len(shape) == 5 and not self.time_first and (shape[4] in (1, 3) or shape[2] in (1, 3)):
            order = (0, 1, 4, 2, 3) if shape[4] in (1, 3) else (0, 1, 2, 3, 4)
        if order is None or 0 in shape:
            raise AeframeError(
                f"{self._where(key)} has shape {shape}, expected clips (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W)"
                " with C = 1 or 3 and no dimension of 0; reshape it"
            )
        sizes = tuple(shape[dim] for dim in order)
        return order, sizes if len(sizes) == 5 else (*sizes[:2], 1, *sizes[2:])

    def _check_type(self, key: str, dtype: np.dtype[Any]) -> None:
        if dtype not in (np.uint8, np.bool_):
            raise AeframeError(
                f"{self._where(key)} has dtype {dtype}, expected uint8 or bool; convert it and save it again"
            )

    # -- bytes ---------------------------------------------------------------------------------------------------

    @property
    def _zipped(self) -> bool:
        return self.path.suffix.lower() == ".npz"

    def _where(self, key: str) -> str:
        return f"{self.who}: array '{key}'" if self._zipped else f"{self.who}: '{self.path}'"

    def _names(self) -> list[str]:
        if not self._zipped:
            return ["arr_0"]
        try:
            with zipfile.ZipFile(self.path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        except _BROKEN as error:
            raise self._unreadable(error) from error

    def _keys(self, key: str | None) -> dict[str, str]:
        if key is not None:
            if key not in self.names:
                raise AeframeError(
                    f"{self.who}: '{self.path}' has no array '{key}'{did_you_mean(key, self.names)}; "
                    f"it has {', '.join(self.names)}"
                )
            return {"train": key}
        forms = {split: [form for word in words for form in (f"x_{word}", word)] for split, words in _WORDS.items()}
        found = {split: next((name for name in names if name in self.names), None) for split, names in forms.items()}
        if found["train"] is not None:
            return {split: name for split, name in found.items() if name is not None}
        whole = next((name for name in _WHOLE if name in self.names), None)
        whole = self.names[0] if whole is None and len(self.names) == 1 else whole
        if whole is None:
            raise AeframeError(
                f"{self.who}: '{self.path}' has arrays {', '.join(self.names) or '(none)'}, expected 'x_train' or "
                "'train' (with 'val', 'test') or 'x'; name the clips with data.key=..."
            )
        return {"train": whole}

    def _load(self, key: str) -> Array:
        try:
            loaded = np.load(self.path, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                array: Array = loaded[key]
                return array
        except _BROKEN as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> AeframeError:
        return AeframeError(
            f"{self.who}: '{self.path}' cannot be read ({str(error) or type(error).__name__}); "
            "save it again with numpy.savez, without objects"
        )


def _header(file: BinaryIO | Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


class VideoNPZ(Dataset):
    """Clips in a NPZ or NPY file of your own; `ArrayFile` says how they may be laid out.

    Splits that the file does not have are drawn from the training clips, by the shares `validation` and `test` and by
    `seed`.

    Args:
        path: The file.
        key: The array of clips, where it is not found by its name.
        validation: Share of the clips for validation.
        test: Share of the clips for test.
        seed: Of the draw.
    """

    modality = "video"

    def __init__(
        self, *, path: str, key: str | None = None, validation: float = 0.1, test: float = 0.1, seed: int = 0
    ) -> None:
        self.path, self.key = Path(path).expanduser(), key
        self.shares = Shares(f"dataset 'video_npz' at '{path}'", validation, test, seed)

    def describe(self) -> Mapping[str, Any]:
        frames, shape = self._file().describe()
        return {"shape": shape, "frames": frames}

    def load(self) -> RawSplits:
        return self.shares.complete(self._file().stacks())

    def _file(self) -> ArrayFile:
        return ArrayFile(self.path, who=self.shares.who, key=self.key)


class MovingMNIST(VideoNPZ):
    """Two handwritten digits that move and bounce, 64 x 64 (Srivastava et al. 2015, arXiv 1502.04681).

    A NPZ with ``train`` and ``test``, ``(N, 20, 64, 64)``, of which the last tenth of the training clips validates; or
    the published ``mnist_test_seq.npy``, ``(20, 10000, 64, 64)``, whose last clips are for validation and test.

    Args:
        path: The file.
        validation: Share of the training clips for validation.
        test: Share of them for test, where the file has no test clips.
    """

    def __init__(self, *, path: str, validation: float = 0.1, test: float = 0.1) -> None:
        super().__init__(path=path, validation=validation, test=test)
        self.shares = Shares(f"dataset 'moving_mnist' at '{path}'", validation, test, seed=0)

    def load(self) -> RawSplits:
        present = self._file().stacks()
        for name, share in (("test", self.shares.test), ("validation", self.shares.validation)):
            if name not in present:
                train = present["train"]
                cut = len(train) - max(1, round(share * len(train)))
                present[name] = train.rows(torch.arange(cut, len(train)))
                present["train"] = train.rows(torch.arange(cut))
        return self.shares.complete(present)

    def _file(self) -> ArrayFile:
        file = ArrayFile(self.path, who=self.shares.who)
        if file.describe()[0] != _DIGITS_LENGTH:
            file.time_first = True
        return file
