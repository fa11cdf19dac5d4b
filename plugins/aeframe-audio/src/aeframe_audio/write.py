"""Write sounds to WAV, FLAC and OGG files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from aeframe.data.output_names import output_paths
from aeframe.errors import AeframeError
from aeframe_audio.decode import EXTENSIONS

_FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
_CHUNK = 1 << 16
"""Samples per channel that are written at once."""


def write_sounds(
    x: Tensor,
    path: Path,
    rate: int,
    *,
    names: Sequence[str] | None = None,
    lengths: Mapping[str, Sequence[int]] | None = None,
) -> list[Path]:
    """Write segments ``(N, C, T)`` in [-1, 1], and return the files. See `Audio.write`.

    Args:
        x: The segments.
        path: The new file or folder.
        rate: Samples per second.
        names: The name of the sound of each segment; None for segments that are sounds of their own.
        lengths: The possible numbers of samples of a sound by its name: its last segment is padded.

    Raises:
        AeframeError: An unknown suffix, or a file that exists.
    """
    suffix = path.suffix.lower()
    if suffix and suffix not in _FORMATS:
        raise AeframeError(
            f"modality 'audio' writes {', '.join(_FORMATS)} files, found '{path.name}'; choose one of these suffixes, "
            "or a folder"
        )
    titles, waves = _joined(x, names, lengths or {})
    if suffix:
        # A single file contains all sounds in order.
        files, waves = [path], [torch.cat(waves, 1)]
        if path.exists():
            raise AeframeError(f"'{path}' exists, and nothing is overwritten; remove it, or write elsewhere")
    else:
        files = output_paths(path, titles, suffix=".wav", written=_FORMATS, read=EXTENSIONS)
    for file, wave in zip(files, waves, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_sound(wave, file, rate)
    return files


def _joined(
    x: Tensor, names: Sequence[str] | None, lengths: Mapping[str, Sequence[int]]
) -> tuple[list[str], list[Tensor]]:
    """Return the names of sounds, and their samples ``(C, n)``: consecutive segments of one name are one sound."""
    if names is None:
        return [f"{number:06d}" for number in range(len(x))], list(x)
    if len(names) != len(x):
        raise AeframeError(f"modality 'audio' writes {len(x)} segments, found {len(names)} names; pass one for each")
    titles, waves = [], []
    start, num_samples = 0, x.shape[2]
    for end in range(1, len(x) + 1):
        if end < len(x) and names[end] == names[start]:
            continue
        wave = x[start:end].movedim(1, 0).flatten(1)
        # The longest that needs all segments, so that nothing but padding is removed.
        fitting = [n for n in lengths.get(names[start], ()) if -(-n // num_samples) == end - start]
        titles.append(str(names[start]))
        waves.append(wave[:, : max(fitting, default=wave.shape[1])])
        start = end
    return titles, waves


def wav(wave: Tensor, rate: int) -> bytes:
    """Return a sound ``(C, n)``, clipped to full scale, as the content of a WAV file of 16 bits."""
    buffer = io.BytesIO()
    samples = wave.detach().cpu().float().clamp(-1.0, 1.0).T.numpy()
    soundfile.write(buffer, samples, rate, subtype=_FORMATS[".wav"], format="WAV")
    return buffer.getvalue()


def _write_sound(wave: Tensor, path: Path, rate: int) -> None:
    """Write one sound ``(C, n)``, clipped to full scale: 16 bits in WAV and FLAC, Vorbis in OGG."""
    samples = wave.detach().cpu().float().clamp(-1.0, 1.0).T.numpy()
    suffix = path.suffix.lower()
    with soundfile.SoundFile(path, "x", rate, samples.shape[1], _FORMATS[suffix]) as file:
        # The Vorbis encoder overflows the stack on minutes of sound at once.
        for start in range(0, len(samples), _CHUNK):
            file.write(samples[start : start + _CHUNK])
