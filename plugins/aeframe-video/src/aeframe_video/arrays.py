"""Videos in NPZ and NPY files, and the datasets `video_npz` and `moving_mnist`.

Shapes: N videos of equal length, T frames, C channels, H x W pixels. `Stack` holds their pixels and labels. The
modality `video` divides them into clips, by default one per video, so that they are called clips here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aeframe.data import Dataset
from aeframe.data.arrays import SplitArrays
from aeframe.data.limits import check_memory
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.pictures import Stack
from aeframe_video.videos import RawSplits

_MOVING_MNIST_FRAMES = 20
"""Frames of a clip of Moving MNIST. The published file has them in its first dimension."""


class ArrayFile(SplitArrays):
    """A NPZ or NPY file of clips: ``(N, T, H, W)``, ``(N, T, H, W, C)`` or ``(N, T, C, H, W)``, with C = 1 or 3.

    Values are uint8 or bool. With `time_first` the shape is ``(T, N, H, W)``. The base class reads the arrays, and
    finds those of each split by their names.

    Args:
        path: The file.
        who: The dataset or modality, for error messages.
        key: The array of clips, if it is not found by its name.
        time_first: Whether the first dimension of the array is time.
    """

    def __init__(self, path: Path, *, who: str, key: str | None = None, time_first: bool = False) -> None:
        # `nouns` are names of the array of clips, besides ``x``.
        super().__init__(path, who=who, nouns=("clip", "clips", "video", "videos"), key=key)
        self.time_first = time_first

    def describe(self) -> tuple[int, Shape]:
        """Return the number of frames of a training clip, and their shape ``(C, H, W)``, without reading the array."""
        # How error messages name the array.
        where = self.where(self.keys["train"])
        shape, dtype = self.header(self.keys["train"])
        _check_dtype(where, dtype)
        _, length, *frame = layout_of(where, shape, time_first=self.time_first)[1]
        return length, tuple(frame)

    def stacks(self) -> dict[str, Stack]:
        """Load the splits that the file contains.

        Raises:
            AeframeError: An array of another type or shape.
        """
        pixels = {split: self._pixels(key) for split, key in self.keys.items()}
        return {split: Stack(clips, self.labels(split, len(clips))) for split, clips in pixels.items()}

    def _pixels(self, key: str) -> Tensor:
        """Return an array of the file as uint8 ``(N, T, C, H, W)``."""
        where = self.where(key)
        header_shape, dtype = self.header(key)
        _check_dtype(where, dtype)
        check_memory(where, math.prod(header_shape), f"its shape {header_shape}")
        array = self.load(key)
        permutation, shape = layout_of(where, array.shape, time_first=self.time_first)
        if array.dtype == np.bool_:
            array = array.astype(np.uint8) * np.uint8(255)
        return torch.from_numpy(np.ascontiguousarray(array.transpose(permutation))).reshape(shape)


def layout_of(where: str, shape: Shape, *, time_first: bool = False) -> tuple[Shape, Shape]:
    """Return the permutation of the dimensions to ``(N, T, C, H, W)``, and the shape in that order.

    The permutation of an array ``(N, T, H, W)`` is that to ``(N, T, H, W)``; the returned shape then has C = 1.

    Args:
        where: How error messages name the array.
        shape: The shape of the array.
        time_first: Whether the first dimension is time.
    """
    permutation: Shape | None = None
    if len(shape) == 4:
        permutation = (1, 0, 2, 3) if time_first else (0, 1, 2, 3)
    elif len(shape) == 5 and not time_first and (shape[4] in (1, 3) or shape[2] in (1, 3)):
        permutation = (0, 1, 4, 2, 3) if shape[4] in (1, 3) else (0, 1, 2, 3, 4)
    if permutation is None or 0 in shape:
        raise AeframeError(
            f"{where} has shape {shape}, expected clips (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W)"
            " with C = 1 or 3 and no dimension of 0; reshape it"
        )
    sizes = tuple(shape[dim] for dim in permutation)
    return permutation, sizes if len(sizes) == 5 else (*sizes[:2], 1, *sizes[2:])


def _check_dtype(where: str, dtype: np.dtype[Any]) -> None:
    if dtype not in (np.uint8, np.bool_):
        raise AeframeError(f"{where} has dtype {dtype}, expected uint8 or bool; convert it and save it again")


class VideoNPZ(Dataset):
    """Clips in a NPZ or NPY file, uint8 or bool.

    Shapes are ``(N, T, H, W)``, ``(N, T, H, W, C)`` or ``(N, T, C, H, W)``, with C = 1 or 3. Splits that the file does
    not contain are drawn at random from the training clips.

    Args:
        path: The file.
        key: The array of clips, if it is not found by its name (``x_train`` or ``x``).
        validation: Fraction of the training clips for validation.
        test: Fraction of the training clips for testing.
        seed: Seed of the random splits.
    """

    modality = "video"

    def __init__(
        self, *, path: Path, key: str | None = None, validation: float = 0.1, test: float = 0.1, seed: int = 0
    ) -> None:
        self.path, self.key = Path(path).expanduser(), key
        self.splitter = RandomSplit(
            f"dataset 'video_npz' at '{path}'", "videos", validation=validation, test=test, seed=seed
        )

    def describe(self) -> Mapping[str, Any]:
        frames, shape = self._file().describe()
        return {"shape": shape, "frames": frames}

    def load(self) -> RawSplits:
        # `split_record`, inherited from `Dataset`, stores the drawn split, so that later runs use the same.
        return self.splitter.complete(self._file().stacks(), self.split_record)

    def _file(self) -> ArrayFile:
        return ArrayFile(self.path, who=self.splitter.who, key=self.key)


class MovingMNIST(VideoNPZ):
    """Moving MNIST: two moving handwritten digits, 64 x 64 (Srivastava et al. 2015, arXiv 1502.04681).

    The file is a NPZ with ``train`` and ``test``, ``(N, 20, 64, 64)``, or the published ``mnist_test_seq.npy``,
    ``(20, 10000, 64, 64)``. Missing splits are taken from the end of the training clips, validation before test.

    Args:
        path: The file.
        validation: Fraction of the training clips for validation.
        test: Fraction of the training clips for testing, if the file has no test clips.
    """

    def __init__(self, *, path: Path, validation: float = 0.1, test: float = 0.1) -> None:
        super().__init__(path=path, validation=validation, test=test)
        self.splitter = RandomSplit(
            f"dataset 'moving_mnist' at '{path}'", "videos", validation=validation, test=test, seed=0
        )

    def load(self) -> RawSplits:
        splits = self._file().stacks()
        for name in ("test", "validation"):
            if name not in splits:
                train = splits["train"]
                num_train = len(train) - max(1, round(self.splitter.fractions[name] * len(train)))
                splits[name] = train.rows(torch.arange(num_train, len(train)))
                splits["train"] = train.rows(torch.arange(num_train))
        # Nothing is drawn, since no split is missing.
        return self.splitter.complete(splits)

    def _file(self) -> ArrayFile:
        file = ArrayFile(self.path, who=self.splitter.who)
        # The second dimension of the published file is not 20: its first one is time.
        if file.describe()[0] != _MOVING_MNIST_FRAMES:
            file.time_first = True
        return file
