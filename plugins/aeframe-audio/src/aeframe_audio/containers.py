"""Decode the sound of MP4, Matroska, WebM, ASF and other containers with PyAV, an optional dependency.

Shapes: C channels, n samples in time, F decoded frames of some hundred samples each.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from aeframe.errors import AeframeError
from aeframe_audio.decode import BLOCK, NEXT_STEP, Block, Header, PacketIndex, as_file, check_file
from aeframe_audio.recordings import Recording

if TYPE_CHECKING:
    import av

_PREROLL = 32
"""Frames that are decoded and dropped after a seek: the first ones depend on frames before them."""
_COMPLETE = 0.98
"""Part of the duration in its header that a whole file has at least; durations are rounded."""
_SCALES = {"u8": 1 << 7, "s16": 1 << 15, "s32": 1 << 31, "s64": 1 << 63}


def container_format(recording: Recording) -> tuple[int, int]:
    """Return the rate and the number of channels of the first stream of sound, without decoding it.

    Raises:
        AeframeError: PyAV is not installed, the file is damaged, or has no sound.
    """
    with _stream(recording) as (_, stream):
        return int(stream.rate), int(stream.channels)


def num_streams(recording: Recording) -> int:
    """Return the number of streams of sound in a container; only the first is read.

    Raises:
        AeframeError: As `container_format`.
    """
    with _stream(recording) as (container, _):
        return len(container.streams.audio)


def read_container(recording: Recording) -> Header:
    """Return the format of the first stream of sound. All of it is decoded once, to count the samples.

    Raises:
        AeframeError: As `container_format`, a file without samples, or one that ends before the time in its header.
    """
    times, lengths = [], []
    with _stream(recording) as (container, stream):
        rate, channels = int(stream.rate), int(stream.channels)
        stated = _stated_seconds(container, stream)
        is_float = str(stream.codec_context.name).startswith("pcm_f")
        for frame in container.decode(stream):
            _check_frame(recording, frame, rate, channels)
            times.append(-1 if frame.pts is None else frame.pts)
            lengths.append(frame.samples)
    num_samples = sum(lengths)
    if not num_samples:
        raise AeframeError(f"audio '{recording.name}' has no samples (length 0); {NEXT_STEP}")
    if stated is not None and num_samples / rate < _COMPLETE * stated - 0.1:
        raise AeframeError(
            f"audio '{recording.name}' ends after {num_samples / rate:.2f} of {stated:.2f} seconds; {NEXT_STEP}"
        )
    frame_lengths = np.array(lengths, np.int64)
    index = PacketIndex(np.array(times, np.int64), frame_lengths.cumsum() - frame_lengths)
    return Header(rate, channels, num_samples, is_float, index)


def container_blocks(recording: Recording, header: Header, start: int, frames: int) -> Generator[Block, None, None]:
    """Yield `frames` samples from `start` on as arrays ``(C, n)``; see `aeframe_audio.decode.decode_blocks`."""
    parts: list[Block] = []
    size, left = 0, frames
    with closing(_frames_from(recording, header, start)) as decoded:
        for block in decoded:
            if left <= 0:
                break
            part = block[:, :left]
            left -= part.shape[1]
            size += part.shape[1]
            parts.append(part)
            if size >= BLOCK:
                yield np.concatenate(parts, 1)
                parts, size = [], 0
    if parts:
        yield np.concatenate(parts, 1)


def _frames_from(recording: Recording, header: Header, start: int) -> Generator[Block, None, None]:
    """Yield the samples from `start` on as arrays ``(C, n)``, one for each frame."""
    index = header.index
    assert index is not None
    wanted = int(np.searchsorted(index.starts, start, side="right")) - 1
    # Without ascending times a frame cannot be found after a seek.
    seekable = wanted > _PREROLL and bool((np.diff(index.times) > 0).all())
    for seek in (wanted - _PREROLL, None) if seekable else (None,):
        with closing(_numbered_frames(recording, index, seek)) as numbered:
            first = next(numbered, None)
            # A seek may end behind the wanted frame. The file is then decoded from its beginning.
            if first is None or first[0] > wanted:
                continue
            for number, frame in chain([first], numbered):
                if number >= wanted:
                    skipped = start - int(index.starts[wanted]) if number == wanted else 0
                    yield _samples(frame)[:, skipped:]
            return


def _numbered_frames(
    recording: Recording, index: PacketIndex, first: int | None
) -> Generator[tuple[int, av.AudioFrame], None, None]:
    """Yield frames with their numbers, from the frame `first` or an earlier one on; None for the beginning."""
    with _stream(recording) as (container, stream):
        if first is None:
            yield from enumerate(container.decode(stream))
            return
        container.seek(int(index.times[first]), stream=stream, backward=True)
        number: int | None = None
        for frame in container.decode(stream):
            if number is None:
                position = int(np.searchsorted(index.times, frame.pts))
                if position == len(index.times) or index.times[position] != frame.pts:
                    continue
                number = position
            else:
                number += 1
            yield number, frame


@contextmanager
def _stream(recording: Recording) -> Iterator[tuple[Any, Any]]:
    """Yield the open container and its first stream of sound."""
    try:
        import av
    except ImportError as error:
        raise AeframeError(
            f"audio '{recording.name}' requires PyAV, which is not installed; install it with "
            "pip install 'aeframe-audio[av]'"
        ) from error
    check_file(recording)
    try:
        with as_file(recording.content) as file, av.open(file) as container:
            if not container.streams.audio:
                raise AeframeError(f"audio '{recording.name}' has no stream of sound; {NEXT_STEP}")
            yield container, container.streams.audio[0]
    except av.FFmpegError as error:
        raise AeframeError(f"audio '{recording.name}' cannot be decoded ({error.strerror}); {NEXT_STEP}") from error


def _stated_seconds(container: Any, stream: Any) -> float | None:
    """Return the duration in the header; None if it states none for the sound alone."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if len(container.streams) == 1 and container.duration is not None:
        # In microseconds.
        return float(container.duration) / 1e6
    return None


def _check_frame(recording: Recording, frame: av.AudioFrame, rate: int, channels: int) -> None:
    if frame.is_corrupt:
        raise AeframeError(f"audio '{recording.name}' has a damaged frame at {frame.time:.2f} s; {NEXT_STEP}")
    found = (int(frame.sample_rate), len(frame.layout.channels))
    if found != (rate, channels):
        raise AeframeError(
            f"audio '{recording.name}' changes from {rate} Hz and {channels} channels to {found[0]} Hz and {found[1]} "
            f"channels; {NEXT_STEP}"
        )


def _samples(frame: av.AudioFrame) -> Block:
    """Return a frame as float32 ``(C, n)``; integers are divided by their full scale."""
    array, name = frame.to_ndarray(), frame.format.name
    if not frame.format.is_planar:
        array = array.reshape(-1, len(frame.layout.channels)).T
    values = array.astype(np.float32)
    kind = name.removesuffix("p")
    if kind == "u8":
        values -= np.float32(_SCALES[kind])
    return np.ascontiguousarray(values / np.float32(_SCALES.get(kind, 1)))
