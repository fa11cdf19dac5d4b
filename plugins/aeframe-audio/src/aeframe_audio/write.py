"""Write sounds to WAV, FLAC and OGG files."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.array_batches import regrouped
from aeframe.data.output_names import output_paths
from aeframe.data.sample_batches import SampleBatches
from aeframe.errors import AeframeError
from aeframe_audio.decode import EXTENSIONS

_FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
_CHUNK = 1 << 16
"""Samples per channel that are written at once."""

Wave = NDArray[np.float32]


def write_sounds(
    segments: SampleBatches, path: Path, rate: int, *, lengths: Mapping[str, Sequence[int]] | None = None
) -> list[Path]:
    """Write segments ``(N, C, T)`` in [-1, 1] while they are computed, and return the files. See `Audio.write_batches`.

    Args:
        segments: The segments, with the name of the sound of each; without names each is a sound of its own.
        path: The new file or folder.
        rate: Samples per second.
        lengths: The possible numbers of samples of a sound by its name: its last segment is padded.

    Raises:
        AeframeError: An unknown suffix.
    """
    suffix = path.suffix.lower()
    if suffix and suffix not in _FORMATS:
        raise AeframeError(
            f"modality 'audio' writes {', '.join(_FORMATS)} files, found '{path.name}'; choose one of these suffixes, "
            "or a folder"
        )
    sounds = _sounds(segments.names, len(segments))
    waves = _waves(segments, sounds, lengths or {})
    if suffix:
        # A single file contains all sounds in order.
        _write_sound((wave for _, wave in waves), path, rate)
        return [path]
    files = output_paths(path, [title for title, _ in sounds], suffix=".wav", written=_FORMATS, read=EXTENSIONS)
    for number, parts in itertools.groupby(waves, key=lambda pair: pair[0]):
        files[number].parent.mkdir(parents=True, exist_ok=True)
        _write_sound((wave for _, wave in parts), files[number], rate)
    return files


def _sounds(names: Sequence[str] | None, num: int) -> list[tuple[str, int]]:
    """Return the name of each sound and its number of segments: consecutive segments of one name are one sound."""
    if names is None:
        return [(f"{number:06d}", 1) for number in range(num)]
    return [(str(name), len([*segments])) for name, segments in itertools.groupby(names)]


def _waves(
    segments: SampleBatches, sounds: list[tuple[str, int]], lengths: Mapping[str, Sequence[int]]
) -> Iterator[tuple[int, Wave]]:
    """Yield each segment as ``(n, C)`` with the number of its sound, without the padding of the last of a sound."""
    each = (segment for batch in segments for segment in batch)
    for number, (title, num) in enumerate(sounds):
        for position, segment in enumerate(itertools.islice(each, num)):
            size = segment.shape[1]
            # The longest that needs all segments, so that nothing but padding is removed.
            length = max((n for n in lengths.get(title, ()) if -(-n // size) == num), default=num * size)
            yield number, _clipped(segment[:, : max(0, length - position * size)])


def _clipped(wave: Tensor) -> Wave:
    """Return a sound ``(C, n)`` as ``(n, C)``, clipped to full scale."""
    samples: Wave = wave.detach().cpu().float().clamp(-1.0, 1.0).T.numpy()
    return samples


def wav(wave: Tensor, rate: int) -> bytes:
    """Return a sound ``(C, n)``, clipped to full scale, as the content of a WAV file of 16 bits."""
    buffer = io.BytesIO()
    soundfile.write(buffer, _clipped(wave), rate, subtype=_FORMATS[".wav"], format="WAV")
    return buffer.getvalue()


def _write_sound(parts: Iterator[Wave], path: Path, rate: int) -> None:
    """Write the parts ``(n, C)`` of one sound: 16 bits in WAV and FLAC, Vorbis in OGG."""
    file: Any = None
    try:
        # The Vorbis encoder overflows the stack on minutes of sound at once.
        for part in regrouped(parts, _CHUNK):
            if file is None:
                file = soundfile.SoundFile(path, "x", rate, part.shape[1], _FORMATS[path.suffix.lower()])
            file.write(part)
    finally:
        if file is not None:
            file.close()
