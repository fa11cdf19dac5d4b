"""`ClipSampling`: the frames of a video that form each clip.

Shapes: N clips of T frames. A video is first sampled evenly in time at `fps`, if that is set; the result has V frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aeframe.errors import AeframeError

_TOLERANCE = 1e-6
"""Seconds: times are rounded, and a moment in the middle between two frames belongs to the later one."""


@dataclass(frozen=True, slots=True)
class ClipSampling:
    """Divides videos into clips.

    Args:
        frames: Number of frames of a clip, T.
        stride: Distance of consecutive frames of a clip, in frames at `fps`.
        fps: Frames per second at which the video is sampled, before the stride; the frame nearest in time is used. None
            uses all frames of the file.
        every: Distance of the starts of consecutive clips, in frames at `fps`; None yields clips without overlap.
    """

    frames: int
    stride: int = 1
    fps: float | None = None
    every: int | None = None

    def sampled(self, times: NDArray[np.float64] | None, first: int, end: int) -> NDArray[np.int64]:
        """Return the numbers ``(V,)`` of the frames from `first` to `end` (exclusive) that are sampled.

        With `fps` they are the frames nearest to moments of equal distance, so that a frame that is shown for long is
        there several times.

        Args:
            times: The time in seconds of each frame of the video, ascending; None if unknown.
            first: The first frame.
            end: The frame after the last one.

        Raises:
            AeframeError: `fps` is set and the times are unknown.
        """
        numbers = np.arange(first, end, dtype=np.int64)
        if self.fps is None or not len(numbers):
            return numbers
        if times is None:
            raise AeframeError(
                f"modality.fps={self.fps:g} requires videos with a frame rate; set modality.stride instead"
            )
        shown = times[first:end]
        # Half of the last frame's duration belongs to it.
        last = (shown[-1] - shown[-2]) / 2 if len(shown) > 1 else 0.5 / self.fps
        num = max(1, int(np.ceil((shown[-1] + last - shown[0] - _TOLERANCE) * self.fps)))
        moments = shown[0] + np.arange(num) / self.fps
        middles = (shown[1:] + shown[:-1]) / 2
        sampled: NDArray[np.int64] = numbers[np.searchsorted(middles, moments + _TOLERANCE, side="right")]
        return sampled

    @property
    def min_frames(self) -> int:
        """The number of sampled frames that a clip needs."""
        return (self.frames - 1) * self.stride + 1

    def fixed_clips(self, num: int) -> NDArray[np.int64]:
        """Return the positions ``(N, T)`` of the frames of all clips among `num` sampled frames."""
        step = self.frames * self.stride if self.every is None else self.every
        starts = np.arange(0, num - self.min_frames + 1, step, dtype=np.int64)
        return starts[:, None] + np.arange(self.frames) * self.stride

    def random_clips(self, num: int) -> tuple[NDArray[np.int64], int]:
        """Return the positions ``(N, T)`` of clips without their random offset, and the number of possible offsets.

        There are as many clips as `fixed_clips` returns, all with the frames of the first one. Adding a random offset,
        from 0 to the number of possible offsets (exclusive), to the positions of a clip yields a random start.
        """
        clips = self.fixed_clips(num)
        return np.repeat(clips[:1], len(clips), 0), num - int(clips[0, -1]) if len(clips) else 1

    def clip_rate(self, rate: float) -> float:
        """Return the frames per second of clips from a video with `rate` frames per second."""
        return (rate if self.fps is None else self.fps) / self.stride
