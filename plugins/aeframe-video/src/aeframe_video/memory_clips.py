"""`MemoryClips`: a source of clips whose decoded frames are kept in memory.

Shapes: F frames in memory, N clips (of which B form a batch) of T frames, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.random_offsets import random_offsets
from aeframe.errors import AeframeError
from aeframe.types import Batch
from aeframe_image.fit import Fit
from aeframe_image.pictures import SharedStack, Stack
from aeframe_video.sampling import ClipSampling

MAX_COPIED_BYTES = 1 << 31
"""Up to this size, frames of an array that must be resized are kept in memory after that."""
_CHUNK = 64


class MemoryClips:
    """Clips in memory. Each frame is stored once, even if several clips share it.

    Args:
        frames: ``(F, C, H, W)`` uint8.
        clips: ``(N, T)``: the positions in `frames` of the frames of each clip.
        labels: ``(N,)``, the class of each clip.
        num_starts: ``(N,)``: at each access a random offset below this number is added to the frames of a clip
            (`ClipSampling.random_clips`); None adds none.
        fit: Resizes the frames of each batch; None for frames that have their size.
        lookup: ``(V,)``: the positions in `frames` of sampled frames, to which `clips` then refer; a frame may be
            sampled several times. None if `clips` refer to `frames`.
        columns: ``(N,)`` each, by name: what identifies the clips.
    """

    in_memory = True

    def __init__(
        self,
        frames: Tensor,
        clips: Tensor,
        labels: Tensor | None,
        num_starts: Tensor | None = None,
        *,
        fit: Fit | None = None,
        lookup: Tensor | None = None,
        columns: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self._frames, self._clips, self._labels, self._num_starts = frames, clips, labels, num_starts
        self._fit, self._lookup, self._columns = fit, lookup, dict(columns or {})

    def __len__(self) -> int:
        return len(self._clips)

    def batch(self, index: Tensor) -> Batch:
        """Return the clips `index` ``(B,)`` as floats in [0, 1]."""
        clips = self._clips.index_select(0, index)
        if self._num_starts is not None:
            clips = clips + random_offsets(self._num_starts[index]).unsqueeze(1)
        positions = clips.flatten() if self._lookup is None else self._lookup[clips.flatten()]
        frames = self._frames.index_select(0, positions)
        frames = frames if self._fit is None else self._fit(frames)
        return clip_batch(frames.unflatten(0, tuple(clips.shape)), index, self._labels)

    def columns(self, index: Tensor) -> Mapping[str, NDArray[Any]]:
        """Return what identifies the clips `index` ``(n,)``."""
        return {name: values[index.numpy()] for name, values in self._columns.items()}


def clips_of_stack(
    stack: Stack | SharedStack, fit: Fit, sampling: ClipSampling, who: str, *, random_start: bool = False
) -> MemoryClips:
    """Return the clips of videos of equal length in memory.

    Args:
        stack: The videos, with pixels ``(videos, frames, C, H, W)``. Those of a `SharedStack` stay where they are if
            they need no resizing, or are larger than `MAX_COPIED_BYTES` after it.
        fit: Resizes the frames.
        sampling: Divides the videos into clips.
        who: The name of the data, for error messages.
        random_start: Whether clips start at random frames.

    Raises:
        AeframeError: Videos that are too short for a clip.
    """
    length = stack.pixels.shape[1]
    if random_start:
        video_clips, num_starts = sampling.random_clips(length)
    else:
        video_clips, num_starts = sampling.fixed_clips(length), 1
    if not len(video_clips):
        raise AeframeError(
            f"{who} has videos of {length} frames, expected at least {sampling.min_frames} for a clip of "
            f"{sampling.frames}; lower modality.frames"
        )
    labels = None if stack.labels is None else stack.labels.repeat_interleave(len(video_clips))
    videos = torch.arange(len(stack))
    resized_by_batch = None
    if isinstance(stack, SharedStack):
        shape = tuple(stack.pixels.shape[2:])
        if fit.shape(shape) == shape or len(stack) * length * math.prod(fit.shape(shape)) > MAX_COPIED_BYTES:
            videos, frames, resized_by_batch = stack.positions(videos), stack.pixels.flatten(0, 1), fit
        else:
            frames = torch.cat([fit(stack.copied(chunk).flatten(0, 1)) for chunk in videos.split(_CHUNK)])
    else:
        frames = fit(stack.pixels.flatten(0, 1))
    # The clips of one video, shifted to the first frame of each video.
    clips = (videos.view(-1, 1, 1) * length + torch.from_numpy(video_clips)).flatten(0, 1)
    clip_num_starts = None if num_starts == 1 else torch.full((len(clips),), num_starts)
    return MemoryClips(frames, clips, labels, clip_num_starts, fit=resized_by_batch)


def clip_batch(frames: Tensor, index: Tensor, labels: Tensor | None) -> Batch:
    """Return a batch of clips ``(B, C, T, H, W)`` in [0, 1] from uint8 frames ``(B, T, C, H, W)``."""
    x = frames.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    return Batch(x, index=index, extras={} if labels is None else {"label": labels.index_select(0, index)})
