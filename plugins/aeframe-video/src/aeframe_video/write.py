"""Write clips to MP4, GIF, NPZ and PNG files."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from aeframe.data.array_batches import write_npz
from aeframe.data.output_names import output_paths
from aeframe.data.sample_batches import SampleBatches
from aeframe.errors import AeframeError
from aeframe_video.decode import EXTENSIONS, FRAME_EXTENSIONS
from aeframe_video.render import film_strips

_SUFFIXES = frozenset({".mp4", ".gif", ".npz", ".png"})
"""Formats of a file with all clips."""
_X264_OPTIONS = {"crf": "10", "preset": "medium"}
"""Options of the encoder libx264: nearly lossless, so that visible errors are those of the model."""

Frames = NDArray[np.uint8]


def write_clips(clips: SampleBatches, path: Path, rate: float) -> list[Path]:
    """Write uint8 clips ``(N, T, C, H, W)`` while they are computed, and return the files. See `Video.write_batches`.

    Args:
        clips: The clips, with the name of the video of each: in a folder, consecutive clips of one name are one file.
        path: The new file or folder.
        rate: Frames per second.

    Raises:
        AeframeError: An unknown suffix.
    """
    suffix = path.suffix.lower()
    # Any other suffix, such as that of a name with a dot, is part of the name of a folder.
    if suffix in (EXTENSIONS | FRAME_EXTENSIONS | {".npy"}) - _SUFFIXES:
        raise AeframeError(
            f"modality 'video' writes MP4, GIF, NPZ and PNG (film strips), found '{path.name}'; choose one of these "
            "suffixes, or a folder"
        )
    if suffix == ".png":
        Image.fromarray(film_strips(clips.tensor()).numpy()).save(path, format="PNG")
        return [path]
    frames: Iterator[Frames] = (batch.permute(0, 1, 3, 4, 2).numpy() for batch in clips)
    if suffix == ".npz":
        write_npz(path, "x", (batch[..., 0] if batch.shape[-1] == 1 else batch for batch in frames), len(clips))
        return [path]
    each = (clip for batch in frames for clip in batch)
    if suffix in _SUFFIXES:
        _write_video(path, each, rate, suffix)
        return [path]
    names = [f"{number:06d}" for number in range(len(clips))] if clips.names is None else map(str, clips.names)
    videos = [(name, len([*same])) for name, same in itertools.groupby(names)]
    files = output_paths(path, [name for name, _ in videos], suffix=".mp4", written={".gif"}, read=EXTENSIONS)
    for file, (_, num) in zip(files, videos, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_video(file, itertools.islice(each, num), rate, file.suffix.lower())
    return files


def gif(pixels: Tensor, rate: float) -> bytes:
    """Return a uint8 clip ``(T, C, H, W)`` as the content of an animated GIF file that repeats."""
    frames = [Image.fromarray(frame.squeeze(-1)) for frame in pixels.permute(0, 2, 3, 1).numpy()]
    buffer = io.BytesIO()
    # Browsers slow down frames that are shown for less than 20 ms.
    duration = max(20, round(1000 / rate))
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
    return buffer.getvalue()


def mp4(pixels: Tensor, rate: float) -> bytes:
    """Return a uint8 clip ``(T, C, H, W)`` as the content of an MP4 file that browsers play."""
    buffer = io.BytesIO()
    _write_video(buffer, iter([pixels.permute(0, 2, 3, 1).numpy()]), rate, ".mp4")
    return buffer.getvalue()


def _write_video(file: Path | io.BytesIO, clips: Iterable[Frames], rate: float, suffix: str) -> None:
    """Write clips ``(T, H, W, C)``, one after another, to one file in the format of the suffix: .gif or .mp4."""
    iterator = iter(clips)
    first = next(iterator)
    _, height, width, channels = first.shape
    if suffix == ".gif":
        # Greyscale is exact; colour is reduced to a palette of 256 colours per frame.
        codec, pixel_format, options = "gif", "gray" if channels == 1 else "pal8", {}
    else:
        # yuv420p is the most widely supported format. It halves the resolution of colour, which requires even sizes.
        even = height % 2 == 0 and width % 2 == 0
        codec, pixel_format, options = "libx264", "yuv420p" if even else "yuv444p", _X264_OPTIONS
    with av.open(file if isinstance(file, io.BytesIO) else str(file), "w", format=suffix[1:]) as container:
        # PyAV annotates a stream of any codec; all codecs here are of video.
        stream: Any = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
        frames = itertools.chain(first, itertools.chain.from_iterable(iterator))
        # The first clip, of which its batch is a part, is not held in memory until the end.
        del first
        for frame in frames:
            container.mux(stream.encode(_frame(frame, pixel_format)))
        container.mux(stream.encode(None))


def _frame(frame: Frames, pixel_format: str) -> av.VideoFrame:
    if frame.shape[-1] == 1:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[..., 0]), format="gray")
    if pixel_format != "pal8":
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    quantised = Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE)
    colours = np.zeros((256, 4), np.uint8)
    palette = np.array(quantised.getpalette(), np.uint8).reshape(-1, 3)
    colours[:, 0], colours[: len(palette), 1:] = 255, palette
    # Some versions of PyAV do not annotate the tuple for pal8.
    indexed: Any = (np.asarray(quantised), colours)
    return av.VideoFrame.from_ndarray(indexed, format="pal8")
