"""Open one recording."""

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
_WAY_OUT = "replace it, or leave such files out of training with modality.on_error=skip"
_STREAMED = (0, 0xFFFFFFFF)
"""Sizes that a program writes which does not know yet how long a file will be."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a recording says of itself."""

    rate: int
    channels: int
    frames: int
    """Samples in each channel."""


def read_header(recording: Recording) -> Header:
    """Return rate, channels and length, without decoding.

    Raises:
        AeframeError: No such file, an empty or damaged one, or one without a single sample.
    """
    with _opened(recording) as file:
        return _header(recording, file)


def decode(recording: Recording, start: int = 0, frames: int = -1) -> tuple[Tensor, int]:
    """Return a recording's samples as float32 ``(C, n)`` in [-1, 1], and its rate.

    Floats beyond full scale are cut off there, as a file of whole numbers would.

    Args:
        recording: What to decode.
        start: The first sample.
        frames: How many samples; all with -1, and as many as there are where there are fewer.

    Raises:
        AeframeError: What `read_header` refuses, a file that ends before its header says, or one with NaN.
    """
    with _opened(recording) as file:
        header = _header(recording, file)
        wanted = header.frames - start if frames < 0 else min(frames, header.frames - start)
        try:
            file.seek(start)
            samples = file.read(wanted, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AeframeError(f"audio '{recording.name}' cannot be decoded ({_told(error)}); {_WAY_OUT}") from error
    if len(samples) < wanted:
        raise AeframeError(
            f"audio '{recording.name}' ends after {start + len(samples)} of {header.frames} samples; {_WAY_OUT}"
        )
    if not np.isfinite(samples).all():
        row = start + int(np.argwhere(~np.isfinite(samples))[0, 0])
        raise AeframeError(f"audio '{recording.name}' has no number at sample {row} (NaN or infinite); {_WAY_OUT}")
    return torch.from_numpy(np.ascontiguousarray(samples.T)).clamp_(-1.0, 1.0), header.rate


def _opened(recording: Recording) -> Any:
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
        raise AeframeError(f"audio '{recording.name}' is empty (0 bytes); {_WAY_OUT}")
    # The library reads as far as a cut WAV goes, and says nothing.
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        stated = int.from_bytes(head[4:8], "little")
        if stated not in _STREAMED and stated + 8 > size:
            raise AeframeError(
                f"audio '{recording.name}' is cut off: {size} bytes where its header says {stated + 8}; {_WAY_OUT}"
            )
    try:
        return soundfile.SoundFile(content if isinstance(content, Path) else io.BytesIO(content))
    except soundfile.LibsndfileError as error:
        raise AeframeError(f"audio '{recording.name}' cannot be opened ({_told(error)}); {_WAY_OUT}") from error


def _header(recording: Recording, file: Any) -> Header:
    if file.frames < 1:
        raise AeframeError(f"audio '{recording.name}' has no samples (length 0); {_WAY_OUT}")
    return Header(int(file.samplerate), int(file.channels), int(file.frames))


def _told(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).rstrip(".")
