"""Write samples to sound files."""

from __future__ import annotations

from pathlib import Path

import soundfile
from torch import Tensor

from aeframe.errors import AeframeError

_FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
_PIECE = 1 << 16


def write_sounds(x: Tensor, path: Path, rate: int) -> list[Path]:
    """Write samples ``(N, C, T)`` in [-1, 1]; return the files. See `Audio.write`."""
    suffix = path.suffix.lower()
    if suffix and suffix not in _FORMATS:
        raise AeframeError(
            f"modality 'audio' writes {', '.join(_FORMATS)}, not '{path.name}'; end the path in one of these, or name "
            "a folder"
        )
    files = [path] if suffix else [path / f"{number:06d}.wav" for number in range(len(x))]
    taken = next((file for file in files if file.exists()), None)
    if taken is not None:
        raise AeframeError(f"'{taken}' exists, and nothing is overwritten; remove it, or write elsewhere")
    files[0].parent.mkdir(parents=True, exist_ok=True)
    # One after the other, as `read` cuts them.
    waves = [x.movedim(1, 0).flatten(1)] if suffix else list(x)
    for file, wave in zip(files, waves, strict=True):
        write_sound(wave, file, rate)
    return files


def write_sound(wave: Tensor, path: Path, rate: int) -> None:
    """Write one sound ``(C, n)``: 16 bits in WAV and FLAC, Vorbis in OGG; what is beyond full scale is cut off."""
    samples = wave.detach().cpu().float().clamp(-1.0, 1.0).T.numpy()
    suffix = path.suffix.lower()
    with soundfile.SoundFile(path, "x", rate, samples.shape[1], _FORMATS[suffix]) as file:
        # Vorbis overruns the stack when it is given minutes at once.
        for start in range(0, len(samples), _PIECE):
            file.write(samples[start : start + _PIECE])
