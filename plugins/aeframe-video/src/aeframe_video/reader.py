"""Find the clips of video files, check that they can be decoded, and load them into memory.

Shapes: F frames, C channels, H x W pixels. A video is divided into N clips of T frames, which may share frames. A part
of a video (`VideoPart`) belongs to one split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.file_samples import OnError
from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.fit import Fit
from aeframe_image.pictures import format_shape
from aeframe_video.decode import SKIP_HINT, VideoInfo, read_frames, read_info
from aeframe_video.memory_clips import MemoryClips
from aeframe_video.sampling import ClipSampling
from aeframe_video.videos import Files, VideoList, VideoPart


@dataclass(slots=True)
class VideoClips:
    """The clips of one part of a video."""

    info: VideoInfo
    clips: NDArray[np.int64]
    """``(N, T)``: the numbers of the frames of each clip."""
    label: int | None = None
    """The class of the video."""
    num_starts: int = 1
    """At each access a random offset below this is added to the frames of a clip (`ClipSampling.random_clips`)."""

    @property
    def frames(self) -> NDArray[np.int64]:
        """The numbers of all frames that clips can contain, unique and ascending."""
        if self.num_starts == 1:
            return np.unique(self.clips)
        return np.arange(self.clips.min(), self.clips.max() + self.num_starts)


def labels_of(videos: list[VideoClips]) -> Tensor | None:
    """Return the label of each clip ``(N,)``; None if a video has no label."""
    if any(video.label is None for video in videos):
        return None
    return torch.cat([torch.full((len(video.clips),), int(video.label or 0)) for video in videos])


def num_starts_of(videos: list[VideoClips]) -> Tensor | None:
    """Return the number of random starts of each clip ``(N,)``; None if no clip has any."""
    if all(video.num_starts == 1 for video in videos):
        return None
    return torch.cat([torch.full((len(video.clips),), video.num_starts) for video in videos])


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads clips of one frame shape from video files."""

    fit: Fit
    """Resizes the frames."""
    shape: Shape
    """``(C, H, W)`` of all frames after resizing."""
    sampling: ClipSampling
    on_error: OnError = "raise"
    """What to do with videos that cannot be decoded or are too short: raise an error, or skip them."""

    def find_clips(self, files: Files, skipped: list[str], *, random_start: bool = False) -> list[VideoClips]:
        """Return the clips of each video, without decoding them.

        Args:
            files: The videos.
            skipped: Error messages of skipped videos are added to it.
            random_start: Whether clips start at random frames.

        Raises:
            AeframeError: A video that cannot be opened or is too short, with ``on_error="raise"``; a video of another
                frame shape; no video that can be used.
        """
        videos: list[VideoClips] = []
        labels: list[int | None] = [None] * len(files) if files.labels is None else files.labels.tolist()
        num_skipped = len(skipped)
        for part, label in zip(files.parts, labels, strict=True):
            try:
                info = read_info(part.path)
                clips = self._clips_of_part(info, part, label, random_start=random_start)
            except AeframeError as error:
                self._raise_or_skip(str(error), skipped)
                continue
            self.check_shape(f"video '{info.path}'", self.fit.shape(info.shape))
            videos.append(clips)
        if not videos:
            raise AeframeError(f"none of the {len(files)} videos can be used; the first: {skipped[num_skipped]}")
        return videos

    def load(self, videos: list[VideoClips], skipped: list[str]) -> MemoryClips:
        """Decode all clips into memory. Of a damaged video the clips before the damage are kept.

        Raises:
            AeframeError: A damaged video, with ``on_error="raise"``; no video that can be used.
        """
        decodable, frames = self._decode(videos, skipped, keep_frames=True)
        # The numbers of frames in their video become positions in the concatenated frames.
        clips, start = [], 0
        for video, video_frames in zip(decodable, frames, strict=True):
            clips.append(np.searchsorted(video.frames, video.clips) + start)
            start += len(video_frames)
        return MemoryClips(
            torch.cat(frames), torch.from_numpy(np.concatenate(clips)), labels_of(decodable), num_starts_of(decodable)
        )

    def clips_of_list(self, listed: VideoList, skipped: list[str], *, random_start: bool = False) -> MemoryClips:
        """Return the clips of videos in memory, resized.

        Args:
            listed: The videos.
            skipped: Error messages of skipped videos are added to it.
            random_start: Whether clips start at random frames.

        Raises:
            AeframeError: A video that is too short, with ``on_error="raise"``; a video of another frame shape; no video
                that can be used.
        """
        frames, clips, used, num_starts = [], [], [], []
        start, num_skipped = 0, len(skipped)
        for position, (video, number) in enumerate(zip(listed.videos, listed.numbers, strict=True)):
            if random_start:
                video_clips, video_starts = self.sampling.random_clips(0, len(video), None)
            else:
                video_clips, video_starts = self.sampling.fixed_clips(0, len(video), None), 1
            if not len(video_clips):
                message = (
                    f"video 'x[{number}]' has {len(video)} frames, expected at least "
                    f"{self.sampling.min_frames(None)} for a clip of {self.sampling.frames}; lower modality.frames, "
                    f"{SKIP_HINT}"
                )
                self._raise_or_skip(message, skipped)
                continue
            self.check_shape(f"video 'x[{number}]'", self.fit.shape(tuple(video.shape[1:])))
            frames.append(self.fit(video))
            clips.append(video_clips + start)
            used += [position] * len(video_clips)
            num_starts += [video_starts] * len(video_clips)
            start += len(video)
        if not frames:
            raise AeframeError(f"none of the {len(listed)} videos can be used; the first: {skipped[num_skipped]}")
        return MemoryClips(
            torch.cat(frames),
            torch.from_numpy(np.concatenate(clips)),
            None if listed.labels is None else listed.labels[torch.tensor(used)],
            torch.tensor(num_starts) if random_start else None,
        )

    def decodable_clips(self, videos: list[VideoClips], skipped: list[str]) -> list[VideoClips]:
        """Decode everything once without keeping it, and return the clips that can be decoded. Raises as `load`."""
        return self._decode(videos, skipped, keep_frames=False)[0]

    def _decode(
        self, videos: list[VideoClips], skipped: list[str], *, keep_frames: bool
    ) -> tuple[list[VideoClips], list[Tensor]]:
        """Return the clips that can be decoded and, with `keep_frames`, the frames ``(F, C, H, W)`` of each video."""
        decodable: list[VideoClips] = []
        pixels: list[Tensor] = []
        for video in videos:
            numbers = video.frames
            frames, error = read_frames(video.info, numbers)
            if error is not None:
                self._raise_or_skip(error, skipped)
                # Only the clips before the first frame that cannot be decoded remain.
                first, end = int(video.clips[0, 0]), int(numbers[len(frames)])
                video = self._clips_within(video.info, first, end, video.label, random_start=video.num_starts > 1)
                if not len(video.clips):
                    continue
                frames = frames[: len(video.frames)]
            decodable.append(video)
            if keep_frames:
                pixels.append(self.convert(video.info, frames))
        if not decodable:
            # Each of the videos has added one message.
            raise AeframeError(f"none of the {len(videos)} videos can be used; the first: {skipped[-len(videos)]}")
        return decodable, pixels

    def convert(self, info: VideoInfo, frames: list[Tensor]) -> Tensor:
        """Return the frames ``(C, H, W)`` of one video, resized to the shape of all videos: ``(F, C, H, W)``.

        Raises:
            AeframeError: Frames of different shapes.
        """
        for number, frame in enumerate(frames):
            if frame.shape != frames[0].shape:
                raise AeframeError(
                    f"video '{info.path}' has frames of {format_shape(tuple(frames[0].shape))} and, {number} frames "
                    f"later, of {format_shape(tuple(frame.shape))} (channels x height x "
                    "width); convert them to one size"
                )
        resized = self.fit(torch.stack(frames))
        self.check_shape(f"video '{info.path}'", tuple(resized.shape[1:]))
        return resized

    def check_shape(self, who: str, shape: Shape) -> None:
        """Check that frames have the shape of all videos.

        Args:
            who: The name of the video, for error messages.
            shape: ``(C, H, W)`` of its frames after resizing.

        Raises:
            AeframeError: Another shape.
        """
        if shape == self.shape:
            return
        options = []
        if shape[0] != self.shape[0]:
            options.append(f"modality.channels={self.shape[0]}")
        if shape[1:] != self.shape[1:]:
            options.append(f"modality.size=[{self.shape[1]},{self.shape[2]}]")
        raise AeframeError(
            f"{who} has frames of {format_shape(shape)} (channels x height x width), expected "
            f"{format_shape(self.shape)}; convert all videos with {' '.join(options)}"
        )

    def _clips_of_part(self, info: VideoInfo, part: VideoPart, label: int | None, *, random_start: bool) -> VideoClips:
        """Return the clips of a part; raise an error if it is too short for a clip."""
        first, end = (round(fraction * info.num_frames) for fraction in (part.begin, part.end))
        try:
            video = self._clips_within(info, first, end, label, random_start=random_start)
        except AeframeError as error:
            raise AeframeError(f"video '{info.path}': {error}") from error
        if not len(video.clips):
            where = "" if (first, end) == (0, info.num_frames) else f" from frame {first} to {end}"
            raise AeframeError(
                f"video '{info.path}'{where} has {end - first} frames, expected at least "
                f"{self.sampling.min_frames(info.rate)} for a clip of {self.sampling.frames}; lower modality.frames, "
                f"{SKIP_HINT}"
            )
        return video

    def _clips_within(
        self, info: VideoInfo, first: int, end: int, label: int | None, *, random_start: bool
    ) -> VideoClips:
        """Return the clips within the frames `first` to `end` (exclusive) of a video."""
        if random_start:
            clips, num_starts = self.sampling.random_clips(first, end, info.rate)
        else:
            clips, num_starts = self.sampling.fixed_clips(first, end, info.rate), 1
        return VideoClips(info, clips, label, num_starts)

    def _raise_or_skip(self, message: str, skipped: list[str]) -> None:
        if self.on_error == "raise":
            raise AeframeError(message)
        skipped.append(message)
