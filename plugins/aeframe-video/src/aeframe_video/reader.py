"""Find the clips of video files, check that they can be decoded, and load them into memory.

Shapes: F frames, C channels, H x W pixels. A video is divided into N clips of T frames, which may share frames. A part
of a video (`VideoPart`) belongs to one split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

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

_MOST_HELD_OUT = 30
"""Percent of a video for validation, and for testing, that an error message suggests at most."""
_RATE_TOLERANCE = 0.02
"""Frame rates that differ by this part are the same: 29.97 and 30, or those of phones, which vary."""


@dataclass(slots=True)
class VideoClips:
    """The clips of one part of a video."""

    info: VideoInfo
    name: str
    """The name of the video in outputs."""
    numbers: NDArray[np.int64]
    """``(V,)``: the numbers of the sampled frames, see `ClipSampling.sampled`."""
    clips: NDArray[np.int64]
    """``(N, T)``: the positions in `numbers` of the frames of each clip."""
    label: int | None = None
    """The class of the video."""
    num_starts: int = 1
    """At each access a random offset below this is added to the positions of a clip (`ClipSampling.random_clips`)."""
    first_clip: int = 0
    """The number of the first clip among those of all videos, in which skipped ones are counted too."""

    @property
    def frames(self) -> NDArray[np.int64]:
        """The numbers of all frames that clips can contain, unique and ascending."""
        return np.unique(self.numbers[self.positions])

    @property
    def positions(self) -> NDArray[np.int64]:
        """The positions in `numbers` that clips can contain, unique and ascending."""
        if self.num_starts == 1:
            return np.unique(self.clips)
        return np.arange(self.clips.min(), self.clips.max() + self.num_starts)


def columns_of(videos: list[VideoClips]) -> dict[str, NDArray[Any]]:
    """Return what identifies clips ``(N,)``: the ``name`` of the video, and where a clip starts in it, if it is fixed.

    ``start`` is the time in seconds, NaN for a folder of frames, and ``frame`` the number of the first frame.
    """
    columns = {"name": np.concatenate([np.full(len(video.clips), video.name) for video in videos])}
    if all(video.num_starts == 1 for video in videos):
        frames = [video.numbers[video.clips[:, 0]] for video in videos]
        times = [video.info.times for video in videos]
        seconds = [
            np.full(len(numbers), np.nan) if shown is None else shown[numbers]
            for numbers, shown in zip(frames, times, strict=True)
        ]
        columns |= {"start": np.concatenate(seconds), "frame": np.concatenate(frames)}
    return columns


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
    rate: float | None = None
    """The frame rate of the training data; None if it is unknown."""
    resample: bool = False
    """Without `ClipSampling.fps`: whether videos of another rate are sampled at `rate`, or an error."""
    uneven: list[tuple[str, str]] = field(default_factory=list)
    """The kind of each change to a video, such as ``"rate"``, and a sentence about it."""

    def find_clips(self, files: Files, skipped: list[str], *, random_start: bool = False) -> list[VideoClips]:
        """Return the clips of each video, without decoding them.

        Args:
            files: The videos.
            skipped: Error messages of skipped videos are added to it.
            random_start: Whether clips start at random frames.

        Raises:
            AeframeError: A video that cannot be opened or is too short, with ``on_error="raise"``; a video of another
                frame shape or frame rate; no video that can be used.
        """
        videos: list[VideoClips] = []
        labels: list[int | None] = [None] * len(files) if files.labels is None else files.labels.tolist()
        num_skipped, num_clips = len(skipped), 0
        for part, label in zip(files.parts, labels, strict=True):
            try:
                info = read_info(part.path)
                clips = self._clips_of_part(info, part, label, random_start=random_start)
            except FrameRateError:
                raise
            except AeframeError as error:
                self._raise_or_skip(str(error), skipped)
                # The number of its clips is not known.
                num_clips += 1
                continue
            clips.first_clip = num_clips
            num_clips += len(clips.clips)
            self.check_shape(f"video '{info.path}'", self.fit.shape(info.shape))
            videos.append(clips)
        if not videos:
            raise AeframeError(f"none of the {len(files)} videos can be used; the first: {skipped[num_skipped]}")
        return videos

    def notes(self) -> list[str]:
        """Return sentences about videos that are not read as they are: one for each kind, with an example."""
        by_kind: dict[str, list[str]] = {}
        for kind, sentence in self.uneven:
            by_kind.setdefault(kind, []).append(sentence)
        return [
            first + (f" (and {len(others)} other videos alike)" if others else "")
            for first, *others in by_kind.values()
        ]

    def load(self, videos: list[VideoClips], skipped: list[str]) -> MemoryClips:
        """Decode all clips into memory. Of a damaged video the clips before the damage are kept.

        Raises:
            AeframeError: A damaged video, with ``on_error="raise"``; no video that can be used.
        """
        decodable, frames = self._decode(videos, skipped, keep_frames=True)
        # Positions among the sampled frames of a video become positions among those of all videos.
        clips, lookup, num_sampled, num_frames = [], [], 0, 0
        for video, video_frames in zip(decodable, frames, strict=True):
            numbers = video.numbers[video.positions]
            clips.append(np.searchsorted(video.positions, video.clips) + num_sampled)
            lookup.append(np.searchsorted(video.frames, numbers) + num_frames)
            num_sampled += len(numbers)
            num_frames += len(video_frames)
        return MemoryClips(
            torch.cat(frames),
            torch.from_numpy(np.concatenate(clips)),
            labels_of(decodable),
            num_starts_of(decodable),
            lookup=torch.from_numpy(np.concatenate(lookup)),
            columns=columns_of(decodable),
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
                video_clips, video_starts = self.sampling.random_clips(len(video))
            else:
                video_clips, video_starts = self.sampling.fixed_clips(len(video)), 1
            if not len(video_clips):
                message = (
                    f"video 'x[{number}]' has {len(video)} frames, expected at least "
                    f"{self.sampling.min_frames} for a clip of {self.sampling.frames}; lower modality.frames, "
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
            columns={"name": np.array([f"x[{listed.numbers[position]}]" for position in used])},
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
            frames, error = read_frames(video.info, numbers, self.converter(video.info) if keep_frames else _dropped)
            if error is not None:
                self._raise_or_skip(error, skipped)
                # Only the clips before the first frame that cannot be decoded remain.
                intact = video.numbers[: int(np.searchsorted(video.numbers, numbers[len(frames)]))]
                video = self._clips_of_frames(video, intact, random_start=video.num_starts > 1)
                if not len(video.clips):
                    continue
                frames = frames[: len(video.frames)]
            decodable.append(video)
            if keep_frames:
                pixels.append(torch.stack(frames))
        if not decodable:
            # Each of the videos has added one message.
            raise AeframeError(f"none of the {len(videos)} videos can be used; the first: {skipped[-len(videos)]}")
        return decodable, pixels

    def converter(self, info: VideoInfo) -> Callable[[Tensor], Tensor]:
        """Return a function that resizes the frames ``(C, H, W)`` of one video to the shape of all videos.

        It raises an error for frames of different shapes. Frames are resized one by one, since those of a film do not
        fit into memory before.
        """
        first_shape: list[Shape] = []
        num_frames = 0

        def convert(frame: Tensor) -> Tensor:
            nonlocal num_frames
            shape = tuple(frame.shape)
            if not first_shape:
                first_shape.append(shape)
            elif shape != first_shape[0]:
                raise AeframeError(
                    f"video '{info.path}' has frames of {format_shape(first_shape[0])} and, {num_frames} frames "
                    f"later, of {format_shape(shape)} (channels x height x width); convert them to one size"
                )
            num_frames += 1
            resized = self.fit(frame[None])[0]
            self.check_shape(f"video '{info.path}'", tuple(resized.shape))
            return resized

        return convert

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
        first, end = info.frame_at(part.begin), info.frame_at(part.end)
        sampling = self._sampling_of(info)
        try:
            numbers = sampling.sampled(info.times, first, end)
        except AeframeError as error:
            raise AeframeError(f"video '{info.path}': {error}") from error
        whole = VideoClips(info, part.name, numbers, np.zeros((0, sampling.frames), np.int64), label)
        video = self._clips_of_frames(whole, numbers, random_start=random_start)
        if not len(video.clips):
            fps = "" if sampling.fps is None else f" at {sampling.fps:g} frames per second"
            where = "" if (first, end) == (0, info.num_frames) else f" from frame {first} to {end}"
            step = f"lower modality.frames, {SKIP_HINT}"
            if part.end - part.begin < 1 and part.begin > 0:
                # A part of a video is held out: with a larger one, the video has clips for all splits.
                fraction = np.ceil(100 * (sampling.min_frames + 0.5) * (part.end - part.begin) / max(1, len(numbers)))
                step = "lower modality.frames" if fraction > _MOST_HELD_OUT else (
                    f"set data.validation={fraction / 100:g} and data.test={fraction / 100:g}, or lower modality.frames"
                )  # fmt: skip
            raise AeframeError(
                f"video '{info.path}'{where} has {len(numbers)} frames{fps}, expected at least {sampling.min_frames} "
                f"for a clip of {sampling.frames}; {step}"
            )
        return video

    def _clips_of_frames(self, video: VideoClips, numbers: NDArray[np.int64], *, random_start: bool) -> VideoClips:
        """Return a video with the clips of the sampled frames `numbers`."""
        if random_start:
            clips, num_starts = self.sampling.random_clips(len(numbers))
        else:
            clips, num_starts = self.sampling.fixed_clips(len(numbers)), 1
        return replace(video, numbers=numbers, clips=clips, num_starts=num_starts)

    def _sampling_of(self, info: VideoInfo) -> ClipSampling:
        """Return the sampling of a video; add to `uneven` what it changes.

        Raises:
            AeframeError: Another frame rate than that of the other videos.
        """
        who, sampling = f"video '{info.path}'", self.sampling
        if info.num_streams > 1:
            self.uneven.append(("streams", f"{who} has {info.num_streams} streams of pictures; the first is read"))
        if sampling.fps is not None:
            return sampling
        if self.rate is not None and info.rate is not None and not _same_rate(info, self.rate):
            if not self.resample:
                raise FrameRateError(
                    f"{who} has {info.rate:.4g} frames per second, expected {self.rate:.4g} as the first video; sample "
                    f"all videos at one rate with modality.fps={min(info.rate, self.rate):.4g}"
                )
            rates = f"{info.rate:.4g} frames per second, and is sampled at {self.rate:.4g}, the rate of training"
            self.uneven.append(("rate", f"{who} has {rates}"))
            return replace(sampling, fps=self.rate)
        if (gaps := info.variation) is not None:
            hint = "" if self.resample else "; modality.fps samples it evenly in time"
            distances = f"{gaps[0]:.3g} to {gaps[1]:.3g} s"
            self.uneven.append(
                (
                    "variable",
                    f"{who} is of a variable frame rate: frames are {distances} apart, and clips take them as they "
                    f"come{hint}",
                )
            )
        return sampling

    def _raise_or_skip(self, message: str, skipped: list[str]) -> None:
        if self.on_error == "raise":
            raise AeframeError(message)
        skipped.append(message)


class FrameRateError(AeframeError):
    """A video of another frame rate, which is not skipped: an option converts it."""


def _same_rate(info: VideoInfo, rate: float) -> bool:
    """Return whether a video has a frame rate, up to the rounding of its times."""
    assert info.rate is not None
    return abs(1 / info.rate - 1 / rate) <= _RATE_TOLERANCE / rate + info.time_base / 2 * (info.timestamps is not None)


def _dropped(frame: Tensor) -> Tensor:
    """Return nothing of a frame that is decoded only to find damage."""
    return frame.new_zeros(0)
