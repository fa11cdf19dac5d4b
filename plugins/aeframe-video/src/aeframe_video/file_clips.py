"""`FileClips`: a source of clips that are decoded when their batch is requested.

Shapes: B clips of T frames, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.random_offsets import random_offsets
from aeframe.errors import AeframeError
from aeframe.types import Batch
from aeframe_video.decode import read_frames
from aeframe_video.memory_clips import clip_batch
from aeframe_video.reader import Reader, VideoClips, columns_of, labels_of, num_starts_of

_GAP = 64
"""Up to this number of frames between two clips of a batch, they are decoded in one go: a seek costs about as much."""


class FileClips:
    """Clips of videos: each batch decodes its own clips.

    Args:
        videos: The clips.
        reader: Resizes the frames.
        numbered: Whether `Batch.index` counts skipped clips too; otherwise it is the row.
    """

    in_memory = False

    def __init__(self, videos: list[VideoClips], reader: Reader, *, numbered: bool = False) -> None:
        self._videos, self._reader = videos, reader
        num_clips = [len(video.clips) for video in videos]
        # Clips are numbered across videos: for each clip its video, and for each video the number of its first clip.
        self._video_of_clip = np.repeat(np.arange(len(videos)), num_clips)
        self._first_clip = np.cumsum([0, *num_clips])
        self._labels, self._num_starts = labels_of(videos), num_starts_of(videos)
        self._columns = columns_of(videos)
        self._index = torch.arange(len(self)) if not numbered else torch.cat(
            [torch.arange(len(video.clips)) + video.first_clip for video in videos]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._video_of_clip)

    def batch(self, index: Tensor) -> Batch:
        """Decode the clips `index` ``(B,)`` to floats in [0, 1]."""
        offsets = torch.zeros_like(index) if self._num_starts is None else random_offsets(self._num_starts[index])
        videos = self._video_of_clip[index.numpy()]
        clips: list[Tensor | None] = [None] * len(index)
        for number in np.unique(videos):
            video, rows = self._videos[number], np.flatnonzero(videos == number)
            positions = video.clips[index.numpy()[rows] - self._first_clip[number]] + offsets.numpy()[rows, None]
            for row, clip in zip(rows, self._decode(video, video.numbers[positions]), strict=True):
                clips[row] = clip
        batch = clip_batch(torch.stack([clip for clip in clips if clip is not None]), index, self._labels)
        batch.index = self._index[index]
        return batch

    def columns(self, index: Tensor) -> Mapping[str, NDArray[Any]]:
        """Return what identifies the clips `index` ``(n,)``, see `aeframe_video.reader.columns_of`."""
        return {name: values[index.numpy()] for name, values in self._columns.items()}

    def _decode(self, video: VideoClips, numbers: NDArray[np.int64]) -> list[Tensor]:
        """Return the uint8 frames ``(T, C, H, W)`` of clips with the frame numbers ``(n, T)`` of one video."""
        # Clips can contain a frame twice, or share it; each is decoded once.
        unique, position = np.unique(numbers, return_inverse=True)
        frames: list[Tensor] = []
        convert = self._reader.converter(video.info)
        for run in np.split(unique, np.flatnonzero(np.diff(unique) > _GAP) + 1):
            decoded, error = read_frames(video.info, run, convert)
            if error is not None:
                raise AeframeError(error)
            frames += decoded
        stacked = torch.stack(frames)
        return list(stacked[torch.from_numpy(position.reshape(numbers.shape))])
