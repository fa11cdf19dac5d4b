"""`FileClips`: a source of clips that are decoded when their batch is requested.

Shapes: B clips of T frames, C channels, H x W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aeframe.data.random_offsets import random_offsets
from aeframe.errors import AeframeError
from aeframe.types import Batch
from aeframe_video.decode import read_frames
from aeframe_video.memory_clips import clip_batch
from aeframe_video.reader import Reader, VideoClips, labels_of, num_starts_of


class FileClips:
    """Clips of videos that do not fit into memory: each batch decodes its own clips."""

    in_memory = False

    def __init__(self, videos: list[VideoClips], reader: Reader) -> None:
        self._videos, self._reader = videos, reader
        num_clips = [len(video.clips) for video in videos]
        # Clips are numbered across videos: for each clip its video, and for each video the number of its first clip.
        self._video_of_clip = np.repeat(np.arange(len(videos)), num_clips)
        self._first_clip = np.cumsum([0, *num_clips])
        self._labels, self._num_starts = labels_of(videos), num_starts_of(videos)

    def __len__(self) -> int:
        return len(self._video_of_clip)

    def batch(self, index: Tensor) -> Batch:
        """Decode the clips `index` ``(B,)`` to floats in [0, 1]."""
        offsets = torch.zeros_like(index) if self._num_starts is None else random_offsets(self._num_starts[index])
        clips = [self._decode(clip, offset) for clip, offset in zip(index.tolist(), offsets.tolist(), strict=True)]
        return clip_batch(torch.stack(clips), index, self._labels)

    def _decode(self, clip: int, offset: int) -> Tensor:
        """Return the uint8 frames ``(T, C, H, W)`` of a clip whose frame numbers are shifted by `offset`."""
        video_number = self._video_of_clip[clip]
        video = self._videos[video_number]
        # Clips can contain a frame twice; each is decoded once.
        numbers = video.clips[clip - self._first_clip[video_number]] + offset
        unique, position = np.unique(numbers, return_inverse=True)
        frames, error = read_frames(video.info, unique)
        if error is not None:
            raise AeframeError(error)
        return self._reader.convert(video.info, frames)[torch.from_numpy(position)]
