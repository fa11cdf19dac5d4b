"""Decode audio files to tensors, and read their headers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_audio.recordings import Recording

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})
_NEXT_STEP = "replace it, or skip such files in training with modality.on_error=skip"
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)
"""Sizes in the header of a WAV that was streamed, when its length was not known yet."""


@dataclass(frozen=True, slots=True)
class Header:
    """The format of an audio file."""

    rate: int
    """Samples per second."""
    channels: int
    frames: int
    """Number of samples per channel; soundfile calls them frames."""


def read_header(recording: Recording) -> Header:
    """Return the format of a file without decoding it.

    Raises:
        AeframeError: A file that is missing, empty, damaged or without samples.
    """
    with _open(recording) as file:
        return _header(recording, file)


def decode(recording: Recording, start: int = 0, frames: int = -1) -> tuple[Tensor, int]:
    """Return samples as float32 ``(C, n)`` in [-1, 1], and the sampling rate.

    Floating-point samples beyond full scale are clipped.

    Args:
        recording: The file.
        start: The first sample.
        frames: Number of samples; -1 decodes all. Fewer are returned at the end of the file.

    Raises:
        AeframeError: As `read_header`, and for a file with NaN or with fewer samples than in its header.
    """
    with _open(recording) as file:
        header = _header(recording, file)
        expected = header.frames - start if frames < 0 else min(frames, header.frames - start)
        try:
            file.seek(start)
            samples = file.read(expected, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AeframeError(
                f"audio '{recording.name}' cannot be decoded ({_reason(error)}); {_NEXT_STEP}"
            ) from error
    if len(samples) < expected:
        raise AeframeError(
            f"audio '{recording.name}' ends after {start + len(samples)} of {header.frames} samples; {_NEXT_STEP}"
        )
    if not np.isfinite(samples).all():
        position = start + int(np.argwhere(~np.isfinite(samples))[0, 0])
        raise AeframeError(f"audio '{recording.name}' is NaN or infinite at sample {position}; {_NEXT_STEP}")
    return torch.from_numpy(np.ascontiguousarray(samples.T)).clamp_(-1.0, 1.0), header.rate


def _open(recording: Recording) -> Any:
    content = recording.content
    if isinstance(content, Path):
        if not content.is_file():
            raise AeframeError(f"there is no audio file '{recording.name}'")
        size = content.stat().st_size
        with content.open("rb") as file:
            head = file.read(12)
    else:
        size, head = len(content), content[:12]
    if size == 0:
        raise AeframeError(f"audio '{recording.name}' is empty (0 bytes); {_NEXT_STEP}")
    # libsndfile reads a truncated WAV without an error.
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        riff_size = int.from_bytes(head[4:8], "little")
        if riff_size not in _UNKNOWN_SIZES and riff_size + 8 > size:
            raise AeframeError(
                f"audio '{recording.name}' is truncated: {size} bytes, expected {riff_size + 8} from its header; "
                f"{_NEXT_STEP}"
            )
    try:
        return soundfile.SoundFile(content if isinstance(content, Path) else io.BytesIO(content))
    except soundfile.LibsndfileError as error:
        raise AeframeError(f"audio '{recording.name}' cannot be opened ({_reason(error)}); {_NEXT_STEP}") from error


def _header(recording: Recording, file: Any) -> Header:
    if file.frames < 1:
        raise AeframeError(f"audio '{recording.name}' has no samples (length 0); {_NEXT_STEP}")
    return Header(int(file.samplerate), int(file.channels), int(file.frames))


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).rstrip(".")
