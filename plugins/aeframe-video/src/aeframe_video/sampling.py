"""Which frames of a video make a clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aeframe.errors import AeframeError


@dataclass(frozen=True, slots=True)
class Sampling:
    """Cut videos into clips of `frames` frames.

    Args:
        frames: Of a clip.
        stride: Each so many-th frame is taken.
        fps: Frames per second at which a video is looked at, before the stride: the nearest frame in time, whatever
            rate the file has; None takes the file's own frames.
        every: Frames of the file from the start of one clip to the start of the next; None lays clips end to end.
    """

    frames: int
    stride: int = 1
    fps: float | None = None
    every: int | None = None

    def offsets(self, rate: float | None) -> NDArray[np.int64]:
        """Return ``(frames + 1,)``: where the frames of a clip stand from its start on, and where the next one starts.

        Args:
            rate: The video's frames per second; None where frames have no time.

        Raises:
            AeframeError: `fps` is asked for and the video has no rate.
        """
        if self.fps is not None and rate is None:
            raise AeframeError(
                f"frames without a rate cannot be taken at modality.fps={self.fps:g}; set modality.stride instead"
            )
        step = self.stride if self.fps is None or rate is None else self.stride * rate / self.fps
        # Half a frame up, always: numpy rounds halves to even numbers, which would stutter.
        return np.floor(np.arange(self.frames + 1) * step + 0.5).astype(np.int64)

    def rows(self, first: int, last: int, rate: float | None) -> NDArray[np.int64]:
        """Return the clips ``(N, frames)`` that lie within the frames `first` to `last`, the latter excluded."""
        offsets = self.offsets(rate)
        step = max(1, int(offsets[-1])) if self.every is None else self.every
        starts = np.arange(first, last - int(offsets[-2]), step, dtype=np.int64)
        return starts[:, None] + offsets[None, :-1]

    def loose(self, first: int, last: int, rate: float | None) -> tuple[NDArray[np.int64], int]:
        """Return as many clips, all at the first place, and how many places there are for each to begin at."""
        rows = self.rows(first, last, rate)
        return np.repeat(rows[:1], len(rows), 0), last - int(rows[0, -1]) if len(rows) else 1

    def rate(self, rate: float) -> float:
        """Return the frames per second that clips of a video with `rate` have."""
        return (rate if self.fps is None else self.fps) / self.stride
