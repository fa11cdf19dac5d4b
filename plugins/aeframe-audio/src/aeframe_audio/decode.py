"""Decode audio files to tensors, and read their headers.

libsndfile decodes WAV, FLAC, MP3 and the like. Sounds in MP4, Matroska and ASF containers are decoded with PyAV, see
`aeframe_audio.containers`.

Shapes: C channels, n samples in time.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_audio.container_sizes import missing_bytes
from aeframe_audio.recordings import Recording

SOUNDFILE_EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64"}
)
CONTAINER_EXTENSIONS = frozenset(
    {".m4a", ".m4b", ".aac", ".wma", ".mka", ".weba", ".amr", ".ac3", ".3gp", ".mp2"}
    | {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv"}
)
"""Suffixes of files that PyAV decodes: sounds, and videos with sound."""
EXTENSIONS = SOUNDFILE_EXTENSIONS | CONTAINER_EXTENSIONS
NEXT_STEP = "replace it, or skip such files with on_error=skip"
_HEAD = 32
"""Bytes at the beginning of a file that show its format."""
BLOCK = 1 << 18
"""Samples per channel that are decoded at a time when a whole file is read."""
_FLOAT_SUBTYPES = frozenset({"FLOAT", "DOUBLE"})

Block = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """The decoded frames of a stream in a container; a frame has some hundred samples."""

    times: NDArray[np.int64]
    """``(F,)``: the presentation time of each frame in units of the stream, ascending."""
    starts: NDArray[np.int64]
    """``(F,)``: the number of the first sample of each frame."""


@dataclass(frozen=True, slots=True)
class Header:
    """The format of an audio file."""

    rate: int
    """Samples per second."""
    channels: int
    frames: int
    """Number of samples per channel; soundfile calls them frames."""
    is_float: bool = False
    """Whether samples are floating-point numbers, which may lie beyond -1 and 1."""
    index: PacketIndex | None = field(default=None, compare=False, repr=False)
    """Where a container is decoded from; None for other files."""


def read_header(recording: Recording) -> Header:
    """Return the format of a file. Files of soundfile are not decoded; a container is, to count its samples.

    Raises:
        AeframeError: A file that is missing, empty, damaged or without samples.
    """
    if in_container(recording):
        from aeframe_audio.containers import read_container

        return read_container(recording)
    with _open(recording) as file:
        return _header(recording, file)


def read_format(recording: Recording) -> tuple[int, int]:
    """Return the rate and the number of channels of a file, without decoding it.

    Raises:
        AeframeError: As `read_header`.
    """
    if in_container(recording):
        from aeframe_audio.containers import container_format

        return container_format(recording)
    header = read_header(recording)
    return header.rate, header.channels


def decode(recording: Recording, start: int = 0, frames: int = -1) -> tuple[Tensor, int]:
    """Return samples as float32 ``(C, n)``, and the sampling rate. Floating-point samples may lie beyond -1 and 1.

    Args:
        recording: The file; its part is ignored.
        start: The first sample.
        frames: Number of samples; -1 decodes all. Fewer are returned at the end of the file.

    Raises:
        AeframeError: As `read_header`, and for a file with NaN or with fewer samples than in its header.
    """
    header = read_header(recording)
    count = header.frames - start if frames < 0 else min(frames, header.frames - start)
    blocks = list(decode_blocks(recording, header, start, count))
    samples = np.concatenate(blocks, 1) if blocks else np.zeros((header.channels, 0), np.float32)
    return torch.from_numpy(samples), header.rate


def decode_blocks(recording: Recording, header: Header, start: int, frames: int) -> Generator[Block, None, None]:
    """Yield `frames` samples from `start` on as arrays ``(C, n)``, of at most `BLOCK` samples each.

    Raises:
        AeframeError: A file with NaN, that cannot be decoded, or with fewer samples than in its header.
    """
    position = start
    blocks = _container_blocks if header.index is not None else _soundfile_blocks
    # The generators close their files when this one is closed before its end.
    with closing(blocks(recording, header, start, frames)) as decoded:
        for block in decoded:
            if not np.isfinite(block).all():
                first = position + int(np.argwhere(~np.isfinite(block))[:, 1].min())
                raise AeframeError(f"audio '{recording.name}' is NaN or infinite at sample {first}; {NEXT_STEP}")
            position += block.shape[1]
            yield block
    if position < start + frames:
        raise AeframeError(f"audio '{recording.name}' ends after {position} of {header.frames} samples; {NEXT_STEP}")


def in_container(recording: Recording) -> bool:
    """Return whether PyAV decodes the file: by its suffix, or by its first bytes if the suffix is wrong."""
    if Path(recording.name).suffix.lower() in CONTAINER_EXTENSIONS:
        return True
    content = recording.content
    if isinstance(content, bytes):
        head = content[:_HEAD]
    elif content.is_file():
        with content.open("rb") as file:
            head = file.read(_HEAD)
    else:
        return False
    # CAF with an encoding that libsndfile does not decode, such as Apple Lossless.
    if head[:4] == b"caff" and head[8:12] == b"desc":
        return head[28:32] not in (b"lpcm", b"ulaw", b"alaw")
    # MP4, Matroska or WebM, and ASF.
    return head[4:8] == b"ftyp" or head[:4] in (b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75")


def check_file(recording: Recording) -> None:
    """Check that a file exists, is not empty, and has all of its sound data.

    Raises:
        AeframeError: It does not.
    """
    content = recording.content
    if isinstance(content, Path) and not content.is_file():
        raise AeframeError(f"there is no audio file '{recording.name}'")
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    if size == 0:
        raise AeframeError(f"audio '{recording.name}' is empty (0 bytes); {NEXT_STEP}")
    with as_file(content) as file:
        missing = missing_bytes(file, size)
    if missing:
        raise AeframeError(
            f"audio '{recording.name}' is truncated: {missing} of the bytes of sound that its header states are "
            f"missing at the end; {NEXT_STEP}"
        )


def as_file(content: Path | bytes) -> BinaryIO:
    """Return the content of a recording as a file that is open for reading."""
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def _soundfile_blocks(recording: Recording, header: Header, start: int, frames: int) -> Generator[Block, None, None]:
    with _open(recording) as file:
        try:
            file.seek(start)
            while frames > 0:
                samples = file.read(min(frames, BLOCK), dtype="float32", always_2d=True)
                if not len(samples):
                    return
                frames -= len(samples)
                yield np.ascontiguousarray(samples.T)
        except soundfile.LibsndfileError as error:
            raise AeframeError(f"audio '{recording.name}' cannot be decoded ({_reason(error)}); {NEXT_STEP}") from error


def _container_blocks(recording: Recording, header: Header, start: int, frames: int) -> Generator[Block, None, None]:
    from aeframe_audio.containers import container_blocks

    yield from container_blocks(recording, header, start, frames)


def _open(recording: Recording) -> Any:
    check_file(recording)
    content = recording.content
    try:
        return soundfile.SoundFile(content if isinstance(content, Path) else io.BytesIO(content))
    except soundfile.LibsndfileError as error:
        raise AeframeError(f"audio '{recording.name}' cannot be opened ({_reason(error)}); {NEXT_STEP}") from error


def _header(recording: Recording, file: Any) -> Header:
    if file.frames < 1:
        raise AeframeError(f"audio '{recording.name}' has no samples (length 0); {NEXT_STEP}")
    return Header(int(file.samplerate), int(file.channels), int(file.frames), file.subtype in _FLOAT_SUBTYPES)


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).rstrip(".")
