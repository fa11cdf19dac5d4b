"""Open a video: a file that PyAV reads, or a folder of numbered pictures."""

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
from aeframe_image.decode import EXTENSIONS as IMAGES
from aeframe_image.decode import decode as decode_image

FRAMES = IMAGES - {".gif"}
"""What a frame in a folder ends in: a GIF is a video here."""
EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".gif"})
WAY_OUT = "replace it, or leave such videos out of training with modality.on_error=skip"


@dataclass(frozen=True, slots=True)
class Track:
    """What is known of a video before it is decoded."""

    path: Path
    num_frames: int
    shape: Shape
    """``(C, H, W)`` of a frame, C = 1 where it is stored as grey and 3 otherwise."""
    rate: float | None = None
    """Frames per second; None for a folder of frames."""
    times: tuple[int, ...] = field(default=(), repr=False)
    """When each frame is shown, in the stream's own unit; empty where the file does not say."""


def find_track(path: Path) -> Track:
    """Look at a video without decoding all of it: frames are counted, and the first one is decoded.

    Raises:
        AeframeError: No such file, an empty or damaged one, no video in it, or no frames.
    """
    if path.is_dir():
        files = frame_files(path)
        if not files:
            raise AeframeError(f"video '{path}' is a folder without frames, expected pictures; {WAY_OUT}")
        return Track(path, len(files), tuple(decode_image(files[0]).shape))
    if not path.is_file():
        raise AeframeError(f"there is no video file '{path}'")
    if path.stat().st_size == 0:
        raise AeframeError(f"video '{path}' is empty (0 bytes); {WAY_OUT}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise AeframeError(f"video '{path}' has no video stream; {WAY_OUT}")
            stream = container.streams.video[0]
            packets = [(packet.pts, packet.is_discard) for packet in container.demux(stream) if packet.size]
            rate = float(stream.average_rate) if stream.average_rate else None
            stated = stream.frames
        # What the header promises counts: of a file that is cut off, fewer are there.
        num = max(len(packets), stated) - sum(hidden for _, hidden in packets)
        first = next(_decoded(path, ()), None) if num else None
    except av.FFmpegError as error:
        raise _undecodable(path, error) from error
    if first is None:
        raise AeframeError(f"video '{path}' has no frames; {WAY_OUT}")
    known = tuple(sorted(time for time, hidden in packets if time is not None and not hidden))
    # Two frames at one time, or a frame at none: such a file cannot be entered in its middle.
    timed = len(known) == num and len(set(known)) == num
    return Track(path, num, tuple(first.shape), rate, known if timed else ())


def read_frames(track: Track, numbers: NDArray[np.int64]) -> tuple[list[Tensor], str | None]:
    """Decode the frames `numbers` (ascending, none twice) of a video, each to uint8 ``(C, H, W)``.

    Returns:
        The frames up to the first that cannot be decoded, and a sentence about that one; None where all can.
    """
    found: list[Tensor] = []
    wanted = numbers.tolist()
    if track.path.is_dir():
        files = frame_files(track.path)
        try:
            for number in wanted:
                found.append(decode_image(files[number]))
        except AeframeError as error:
            return found, str(error)
        return found, None
    first = wanted[0]
    place = first if track.times else 0
    why = "the file ends there"
    try:
        for frame in _decoded(track.path, track.times[first : first + 1]):
            if place == wanted[len(found)]:
                found.append(frame)
                if len(found) == len(wanted):
                    return found, None
            place += 1
    except av.FFmpegError as error:
        why = str(error.strerror)
    except _CorruptError:
        why = "its picture is damaged"
    return found, f"video '{track.path}' breaks off at frame {place} of {track.num_frames} ({why}); {WAY_OUT}"


def frame_files(folder: Path) -> list[Path]:
    """Return the pictures that stand in a folder, in the order of the numbers in their names: 2 before 10."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in FRAMES and not path.name.startswith("."))
    return sorted(found, key=lambda path: [int(word) if word.isdigit() else word for word in _words(path.name)])


def _words(name: str) -> list[str]:
    # Text and numbers in turn, beginning with text, so that like is compared with like.
    return re.split(r"(\d+)", name)


class _CorruptError(Exception):
    """A frame that the decoder has patched up."""


def _decoded(path: Path, start: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield the frames of a file, from the one shown at `start` on where that is given."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if start and start[0]:
            container.seek(start[0], stream=stream, backward=True)
        for frame in _frames(container):
            if start and frame.pts is not None and frame.pts < start[0]:
                continue
            if frame.is_corrupt:
                raise _CorruptError
            yield torch.from_numpy(_array(frame))


def _frames(container: InputContainer) -> Iterator[av.VideoFrame]:
    # Not every version of PyAV types this alike.
    frames: Any = container.decode(video=0)
    yield from frames


def _array(frame: av.VideoFrame) -> NDArray[np.uint8]:
    grey = frame.format.name.startswith("gray")
    array: NDArray[Any] = frame.to_ndarray(format="gray" if grey else "rgb24")
    # Telephones store how they were held: the angle by which the picture must be turned to stand upright.
    array = np.rot90(array, frame.rotation // 90) if frame.rotation else array
    return np.ascontiguousarray(array[None] if grey else array.transpose(2, 0, 1))


def _undecodable(path: Path, error: av.FFmpegError) -> AeframeError:
    return AeframeError(f"video '{path}' cannot be decoded ({error.strerror}); {WAY_OUT}")
