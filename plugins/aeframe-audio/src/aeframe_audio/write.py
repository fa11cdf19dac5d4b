"""Write sounds to WAV, FLAC and OGG files."""

from __future__ import annotations

from pathlib import Path

import soundfile
from torch import Tensor

from aeframe.errors import AeframeError

_FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
_CHUNK = 1 << 16
"""Samples per channel that are written at once."""


def write_sounds(x: Tensor, path: Path, rate: int) -> list[Path]:
    """Write segments ``(N, C, T)`` in [-1, 1], and return the files. See `Audio.write`.

    Raises:
        AeframeError: An unknown suffix, or a file that exists.
    """
    suffix = path.suffix.lower()
    if suffix and suffix not in _FORMATS:
        raise AeframeError(
            f"modality 'audio' writes {', '.join(_FORMATS)} files, found '{path.name}'; choose one of these suffixes, "
            "or a folder"
        )
    files = [path] if suffix else [path / f"{number:06d}.wav" for number in range(len(x))]
    existing = next((file for file in files if file.exists()), None)
    if existing is not None:
        raise AeframeError(f"'{existing}' exists, and nothing is overwritten; remove it, or write elsewhere")
    files[0].parent.mkdir(parents=True, exist_ok=True)
    # A single file contains all segments in order.
    waves = [x.movedim(1, 0).flatten(1)] if suffix else list(x)
    for file, wave in zip(files, waves, strict=True):
        _write_sound(wave, file, rate)
    return files


def _write_sound(wave: Tensor, path: Path, rate: int) -> None:
    """Write one sound ``(C, n)``, clipped to full scale: 16 bits in WAV and FLAC, Vorbis in OGG."""
    samples = wave.detach().cpu().float().clamp(-1.0, 1.0).T.numpy()
    suffix = path.suffix.lower()
    with soundfile.SoundFile(path, "x", rate, samples.shape[1], _FORMATS[suffix]) as file:
        # The Vorbis encoder overflows the stack on minutes of sound at once.
        for start in range(0, len(samples), _CHUNK):
            file.write(samples[start : start + _CHUNK])
