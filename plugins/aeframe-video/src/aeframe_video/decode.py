"""Decode videos: files that PyAV reads, or folders of numbered images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.limits import check_pixels
from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.decode import EXTENSIONS as IMAGE_EXTENSIONS
from aeframe_image.decode import decode as decode_image
from aeframe_video.orientation import oriented

EXTENSIONS = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".gif"}
    | {".ts", ".m2ts", ".mts", ".wmv", ".asf", ".flv", ".ogv", ".3gp", ".3g2", ".vob"}
)
FRAME_EXTENSIONS = IMAGE_EXTENSIONS - {".gif"}
"""Suffixes of the images in a folder of frames."""
SKIP_HINT = "or skip such videos with on_error=skip"
_NEXT_STEP = f"replace it, {SKIP_HINT}"
_MIN_TIMES = 2
_UNEVEN, _MANY_UNEVEN = 0.5, 0.01
"""The frame rate varies if more than 1 % of the times between frames differ by half from the median."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The format of a video."""

    path: Path
    num_frames: int
    shape: Shape
    """``(C, H, W)`` of a frame; C is 1 for greyscale formats and 3 otherwise."""
    rate: float | None = None
    """Frames per second; None for a folder of frames."""
    timestamps: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)
    """``(F,)``: the presentation time of each frame in units of the stream; None if the file does not contain them."""
    time_base: float = 1.0
    """Seconds of a unit of `timestamps`."""
    num_streams: int = 1
    """Streams of pictures; only the first is read."""

    @property
    def times(self) -> NDArray[np.float64] | None:
        """``(F,)``: the time of each frame in seconds from the first; None for a folder of frames."""
        if self.timestamps is not None:
            times: NDArray[np.float64] = (self.timestamps - self.timestamps[0]) * self.time_base
            return times
        return None if self.rate is None else np.arange(self.num_frames) / self.rate

    def frame_at(self, fraction: float) -> int:
        """Return the number of the first frame after a fraction of the time; the nearest one."""
        times = self.times
        if times is None or len(times) < _MIN_TIMES or fraction >= 1:
            return round(fraction * self.num_frames)
        duration = times[-1] + times[-1] - times[-2]
        return int(np.searchsorted((times[1:] + times[:-1]) / 2, fraction * duration))

    @property
    def variation(self) -> tuple[float, float] | None:
        """The shortest and the longest time between frames in seconds if the frame rate varies, otherwise None."""
        times = self.times
        if self.timestamps is None or times is None or len(times) < _MIN_TIMES + 1:
            return None
        gaps = np.diff(times)
        uneven = np.abs(gaps - np.median(gaps)) > _UNEVEN * np.median(gaps) + self.time_base
        return (float(gaps.min()), float(gaps.max())) if uneven.mean() > _MANY_UNEVEN else None


def read_info(path: Path) -> VideoInfo:
    """Return the format of a video. Counts the frames, and decodes only the first.

    Raises:
        AeframeError: A file that is missing, empty or damaged, or without a video stream or frames.
    """
    if path.is_dir():
        files = frame_files(path)
        if not files:
            raise AeframeError(f"video '{path}' is a folder without frames, expected images; {_NEXT_STEP}")
        return VideoInfo(path, len(files), tuple(decode_image(files[0]).shape))
    if not path.is_file():
        raise AeframeError(f"there is no video file '{path}'")
    if path.stat().st_size == 0:
        raise AeframeError(f"video '{path}' is empty (0 bytes); {_NEXT_STEP}")
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise AeframeError(f"video '{path}' has no video stream; {_NEXT_STEP}")
            stream, num_streams = _picture_stream(container)
            if stream.codec_context is None:
                raise AeframeError(f"video '{path}' cannot be decoded (its codec is not known); {_NEXT_STEP}")
            check_pixels(f"video '{path}'", stream.codec_context.width, stream.codec_context.height)
            packets = [(packet.pts, packet.is_discard) for packet in container.demux(stream) if packet.size]
            rate = float(stream.average_rate) if stream.average_rate else None
            header_frames, time_base = stream.frames, stream.time_base
        # A truncated file has fewer packets than frames in its header. The larger number is kept, so that decoding
        # reports the missing frames. Packets to discard are decoded but not shown.
        num_frames = max(len(packets), header_frames) - sum(discarded for _, discarded in packets)
        first = next(_decoded_frames(path, None), None) if num_frames else None
    except av.FFmpegError as error:
        raise AeframeError(f"video '{path}' cannot be decoded ({error.strerror}); {_NEXT_STEP}") from error
    except _CorruptFrameError as error:
        raise AeframeError(f"video '{path}' cannot be decoded (its first frame is damaged); {_NEXT_STEP}") from error
    if first is None:
        raise AeframeError(f"video '{path}' has no frames; {_NEXT_STEP}")
    timestamps = tuple(sorted(time for time, discarded in packets if time is not None and not discarded))
    # Seeking requires a unique timestamp for each frame.
    seekable = time_base is not None and len(timestamps) == num_frames and len(set(timestamps)) == num_frames
    return VideoInfo(
        path,
        num_frames,
        tuple(first.shape),
        rate,
        np.array(timestamps, np.int64) if seekable else None,
        float(time_base or 1),
        num_streams,
    )


def read_frames(
    info: VideoInfo, numbers: NDArray[np.int64], convert: Callable[[Tensor], Tensor] | None = None
) -> tuple[list[Tensor], str | None]:
    """Decode the frames with the given numbers of a video to uint8 ``(C, H, W)`` each.

    Args:
        info: The video.
        numbers: Numbers of the frames, ascending and unique.
        convert: Called with each frame when it is decoded, to keep less than the whole frame.

    Returns:
        The decoded frames, and None. If a frame cannot be decoded: the frames before it, and an error message.
    """
    frames: list[Tensor] = []
    convert = convert or _unchanged
    if info.path.is_dir():
        files = frame_files(info.path)
        try:
            for number in numbers.tolist():
                frames.append(convert(decode_image(files[number])))
        except AeframeError as error:
            return frames, str(error)
        return frames, None
    requested = numbers.tolist()
    # Decoding starts at the first requested frame if its timestamp is known, otherwise at the beginning.
    position = requested[0] if info.timestamps is not None else 0
    start = int(info.timestamps[position]) if info.timestamps is not None else None
    reason = "end of file"
    try:
        for frame in _decoded_frames(info.path, start):
            if position == requested[len(frames)]:
                frames.append(convert(frame))
                if len(frames) == len(requested):
                    return frames, None
            position += 1
    except av.FFmpegError as error:
        reason = str(error.strerror)
    except _CorruptFrameError:
        reason = "the frame is damaged"
    return frames, (
        f"video '{info.path}' cannot be decoded at frame {position} of {info.num_frames} ({reason}); {_NEXT_STEP}"
    )


def frame_files(folder: Path) -> list[Path]:
    """Return the images in a folder in the order of the numbers in their names: 2 before 10."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in FRAME_EXTENSIONS and path.name[0] != ".")
    # `split` returns text and digits in turn, beginning with text, so that keys are comparable.
    return sorted(files, key=lambda path: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", path.name)])


class _CorruptFrameError(Exception):
    """A frame that the decoder marks as corrupt."""


def _decoded_frames(path: Path, start: int | None) -> Iterator[Tensor]:
    """Yield the frames of a file as ``(C, H, W)``, from the timestamp `start` on; None starts at the beginning."""
    # A reformatter of its own for each frame would hold threads until the frame is freed.
    reformatter = VideoReformatter()
    for seeks in (True, False) if start is not None else (False,):
        is_found = False
        with av.open(str(path), metadata_errors="replace") as container:
            stream, _ = _picture_stream(container)
            if seeks:
                container.seek(start or 0, stream=stream, backward=True)
            # The type annotation differs between versions of PyAV.
            decoded: Any = container.decode(stream)
            for frame in decoded:
                if start is not None and frame.pts is not None and frame.pts < start:
                    continue
                if seeks and not is_found and frame.pts != start:
                    # The seek ended behind the frame, as it may in MPEG-TS: decode from the beginning.
                    break
                is_found = True
                if frame.is_corrupt:
                    raise _CorruptFrameError
                yield torch.from_numpy(_array(path, frame, reformatter))
        if is_found:
            return


def _unchanged(frame: Tensor) -> Tensor:
    return frame


def _picture_stream(container: InputContainer) -> tuple[Any, int]:
    """Return the first stream of pictures that is no cover, and the number of such streams."""
    streams: list[Any] = list(container.streams.video)
    films = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    return (films or streams)[0], len(films or streams)


def _array(path: Path, frame: av.VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """Return a frame as ``(C, H, W)``."""
    grey = frame.format.name.startswith("gray")
    array: NDArray[Any] = reformatter.reformat(frame, format="gray" if grey else "rgb24", threads=1).to_ndarray()
    array = oriented(f"video '{path}'", array, frame)
    return np.ascontiguousarray(array[None] if grey else array.transpose(2, 0, 1))
