"""Decode videos: files that PyAV reads, or folders of numbered images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.container import InputContainer
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Shape
from aeframe_image.decode import EXTENSIONS as IMAGE_EXTENSIONS
from aeframe_image.decode import decode as decode_image

EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".gif"})
FRAME_EXTENSIONS = IMAGE_EXTENSIONS - {".gif"}
"""Suffixes of the images in a folder of frames."""
SKIP_HINT = "or skip such videos in training with modality.on_error=skip"
_NEXT_STEP = f"replace it, {SKIP_HINT}"


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The format of a video."""

    path: Path
    num_frames: int
    shape: Shape
    """``(C, H, W)`` of a frame; C is 1 for greyscale formats and 3 otherwise."""
    rate: float | None = None
    """Frames per second; None for a folder of frames."""
    timestamps: tuple[int, ...] = field(default=(), repr=False)
    """The presentation time of each frame in units of the stream; empty if the file does not contain them."""


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
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise AeframeError(f"video '{path}' has no video stream; {_NEXT_STEP}")
            stream = container.streams.video[0]
            packets = [(packet.pts, packet.is_discard) for packet in container.demux(stream) if packet.size]
            rate = float(stream.average_rate) if stream.average_rate else None
            header_frames = stream.frames
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
    seekable = len(timestamps) == num_frames and len(set(timestamps)) == num_frames
    return VideoInfo(path, num_frames, tuple(first.shape), rate, timestamps if seekable else ())


def read_frames(info: VideoInfo, numbers: NDArray[np.int64]) -> tuple[list[Tensor], str | None]:
    """Decode the frames with the given numbers of a video to uint8 ``(C, H, W)`` each.

    Args:
        info: The video.
        numbers: Numbers of the frames, ascending and unique.

    Returns:
        The decoded frames, and None. If a frame cannot be decoded: the frames before it, and an error message.
    """
    frames: list[Tensor] = []
    if info.path.is_dir():
        files = frame_files(info.path)
        try:
            for number in numbers.tolist():
                frames.append(decode_image(files[number]))
        except AeframeError as error:
            return frames, str(error)
        return frames, None
    requested = numbers.tolist()
    # Decoding starts at the first requested frame if its timestamp is known, otherwise at the beginning.
    position = requested[0] if info.timestamps else 0
    start = info.timestamps[position] if info.timestamps else None
    reason = "end of file"
    try:
        for frame in _decoded_frames(info.path, start):
            if position == requested[len(frames)]:
                frames.append(frame)
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
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if start:
            container.seek(start, stream=stream, backward=True)
        for frame in _frames(container):
            if start is not None and frame.pts is not None and frame.pts < start:
                continue
            if frame.is_corrupt:
                raise _CorruptFrameError
            yield torch.from_numpy(_array(frame))


def _frames(container: InputContainer) -> Iterator[av.VideoFrame]:
    # The type annotation differs between versions of PyAV.
    frames: Any = container.decode(video=0)
    yield from frames


def _array(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return a frame as ``(C, H, W)``."""
    grey = frame.format.name.startswith("gray")
    array: NDArray[Any] = frame.to_ndarray(format="gray" if grey else "rgb24")
    # Phones store the rotation of the camera as metadata.
    array = np.rot90(array, frame.rotation // 90) if frame.rotation else array
    return np.ascontiguousarray(array[None] if grey else array.transpose(2, 0, 1))
