"""The dataset ``video_in_memory``: videos that a program has in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.in_memory import MemoryDataset
from aeframe.data.samples import as_array, described, is_tensor
from aeframe.errors import AeframeError
from aeframe_image.arrays import shared_tensor
from aeframe_image.in_memory import ImageInMemory, stacked_arrays
from aeframe_image.pictures import SharedStack
from aeframe_video.arrays import layout_of
from aeframe_video.videos import VideoList

_CHANNELS = (1, 3)


class VideoInMemory(MemoryDataset):
    """Videos in memory: an array or tensor ``(N, T, H, W)``, ``(N, T, H, W, C)`` or ``(N, T, C, H, W)``, or a list.

    Values are uint8 or bool, and C is 1 or 3. An array of uint8 is shared, not copied; of a memory map only the frames
    of a batch are read. If frames are resized, the resized ones are kept in memory up to 2 GiB; above, each batch is
    resized when it is read.

    A list has an array for each video, without the dimension N. Videos of different lengths are divided into clips of
    ``modality.frames`` frames, by default as many as the shortest training video has. Frames of different sizes need
    ``modality.size``, and a mix of greyscale and colour needs ``modality.channels``.

    An array ``(N, C, H, W)`` or ``(N, H, W, C)`` with C = 1 or 3 is taken for images, unless ``modality="video"`` is
    named.

    Args:
        samples: The samples by split, injected.
        validation: Fraction of the videos for validation, if no validation split was passed.
        test: Fraction of the videos for testing, if no test split was passed.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "video"
    noun: ClassVar[str] = "videos"

    @staticmethod
    def accepts(x: Any) -> bool:
        if ImageInMemory.accepts(x):
            return False
        if isinstance(x, (list, tuple)):
            return len(x) > 0 and all(_is_array(item) and _is_bytes(item) and _is_video(item.shape) for item in x)
        return _is_array(x) and _is_bytes(x) and x.ndim in (4, 5) and _is_video(x.shape[1:])

    def read(self, x: Any, labels: Tensor | None) -> SharedStack | VideoList:
        raw = raw_videos(x)
        raw.labels = labels
        return raw

    def describe_raw(self, train: SharedStack | VideoList) -> Mapping[str, Any]:
        if isinstance(train, SharedStack):
            return {"shape": train.shape[1:], "frames": train.shape[0]}
        return {"shape": tuple(train.videos[0].shape[1:]), "frames": min(len(video) for video in train.videos)}


def raw_videos(x: Any) -> SharedStack | VideoList:
    """Return videos of the forms that `VideoInMemory` describes; arrays of uint8 are shared.

    Raises:
        AeframeError: Another type or shape.
    """
    if isinstance(x, (list, tuple)):
        stacked = stacked_arrays(x)
        if stacked is None:
            videos = [_video(item, number) for number, item in enumerate(x)]
            return VideoList(videos, list(range(len(videos))))
        x = stacked
    if not _is_array(x):
        raise AeframeError(
            f"x is {described(x)}, expected videos: an array (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W), or a "
            "list of arrays"
        )
    return SharedStack(_frames("x", as_array(x)))


def _video(item: Any, number: int) -> Tensor:
    """Return one video of a list as ``(F, C, H, W)``."""
    where = f"x[{number}]"
    if not _is_array(item):
        raise AeframeError(
            f"{where} is {described(item)}, expected a video (T, H, W), (T, H, W, C) or (T, C, H, W); leave it out or "
            "convert it"
        )
    return _frames(where, as_array(item)[None])[0]


def _frames(where: str, array: NDArray[Any]) -> Tensor:
    """Return videos as ``(N, T, C, H, W)`` uint8; an array of uint8 is not copied."""
    if not _is_bytes(array):
        raise AeframeError(
            f"{where} has dtype {array.dtype}, expected uint8 or bool; of values in [0, 1] pass "
            "(255 * x).round().astype('uint8')"
        )
    permutation, _ = layout_of(where, array.shape)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    pixels = shared_tensor(array).permute(permutation)
    return pixels.unsqueeze(2) if pixels.ndim == 4 else pixels


def _is_video(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and (shape[1] in _CHANNELS or shape[3] in _CHANNELS))


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or is_tensor(x)


def _is_bytes(x: Any) -> bool:
    return str(x.dtype).removeprefix("torch.") in ("uint8", "bool")
