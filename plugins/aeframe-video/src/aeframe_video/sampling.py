"""`ClipSampling`: the frames of a video that form each clip.

Shapes: N clips of T frames. Frames are given by their numbers in the video, from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aeframe.errors import AeframeError


@dataclass(frozen=True, slots=True)
class ClipSampling:
    """Divides videos into clips.

    Args:
        frames: Number of frames of a clip, T.
        stride: Distance of consecutive frames of a clip, in frames at `fps`.
        fps: Frames per second at which the video is sampled, before the stride; the nearest frame in time is used. None
            uses all frames of the file.
        every: Distance of the starts of consecutive clips, in frames of the file; None yields clips without overlap.
    """

    frames: int
    stride: int = 1
    fps: float | None = None
    every: int | None = None

    def offsets(self, rate: float | None) -> NDArray[np.int64]:
        """Return the offsets ``(T + 1,)`` of the frames of a clip in the file, relative to its first frame.

        The last one is not in the clip: it is the offset of the first frame of the next clip without overlap.

        Args:
            rate: Frames per second of the video; None if unknown.

        Raises:
            AeframeError: `fps` is set and the video has no rate.
        """
        if self.fps is not None and rate is None:
            raise AeframeError(
                f"modality.fps={self.fps:g} requires videos with a frame rate; set modality.stride instead"
            )
        step = self.stride if self.fps is None or rate is None else self.stride * rate / self.fps
        # Halves are rounded up: numpy rounds them to even numbers, which results in uneven steps.
        return np.floor(np.arange(self.frames + 1) * step + 0.5).astype(np.int64)

    def min_frames(self, rate: float | None) -> int:
        """Return the number of frames that a video with `rate` must have for one clip."""
        return int(self.offsets(rate)[-2]) + 1

    def fixed_clips(self, first: int, end: int, rate: float | None) -> NDArray[np.int64]:
        """Return the frames ``(N, T)`` of all clips within the frames `first` to `end` (exclusive) of a video."""
        offsets = self.offsets(rate)
        step = max(1, int(offsets[-1])) if self.every is None else self.every
        starts = np.arange(first, end - int(offsets[-2]), step, dtype=np.int64)
        return starts[:, None] + offsets[None, :-1]

    def random_clips(self, first: int, end: int, rate: float | None) -> tuple[NDArray[np.int64], int]:
        """Return the frames ``(N, T)`` of clips without their random offset, and the number of possible offsets.

        There are as many clips as `fixed_clips` returns, all with the frames of the first one. Adding a random offset,
        from 0 to the number of possible offsets (exclusive), to the frames of a clip yields a random start.
        """
        clips = self.fixed_clips(first, end, rate)
        return np.repeat(clips[:1], len(clips), 0), end - int(clips[0, -1]) if len(clips) else 1

    def clip_rate(self, rate: float) -> float:
        """Return the frames per second of clips from a video with `rate` frames per second."""
        return (rate if self.fps is None else self.fps) / self.stride
