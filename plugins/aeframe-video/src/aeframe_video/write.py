"""Write clips to MP4, GIF, NPZ and PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from aeframe.data.output_names import output_paths
from aeframe.errors import AeframeError
from aeframe_video.decode import EXTENSIONS, FRAME_EXTENSIONS
from aeframe_video.render import film_strips

_SUFFIXES = frozenset({".mp4", ".gif", ".npz", ".png"})
"""Formats of a file with all clips."""
_X264_OPTIONS = {"crf": "10", "preset": "medium"}
"""Options of the encoder libx264: nearly lossless, so that visible errors are those of the model."""

Frames = NDArray[np.uint8]


def write_clips(pixels: Tensor, path: Path, rate: float, *, names: Sequence[str] | None = None) -> list[Path]:
    """Write uint8 clips ``(N, T, C, H, W)`` at `rate` frames per second, and return the files. See `Video.write`.

    Args:
        pixels: The clips.
        path: The new file or folder.
        rate: Frames per second.
        names: The name of the video of each clip: in a folder, consecutive clips of one name are one file.

    Raises:
        AeframeError: An unknown suffix, or a file that exists.
    """
    suffix = path.suffix.lower()
    # Any other suffix, such as that of a name with a dot, is part of the name of a folder.
    if suffix in (EXTENSIONS | FRAME_EXTENSIONS | {".npy"}) - _SUFFIXES:
        raise AeframeError(
            f"modality 'video' writes MP4, GIF, NPZ and PNG (film strips), found '{path.name}'; choose one of these "
            "suffixes, or a folder"
        )
    clips: Frames = pixels.permute(0, 1, 3, 4, 2).numpy()
    titles = [f"{number:06d}" for number in range(len(clips))] if names is None else [str(name) for name in names]
    if len(titles) != len(clips):
        raise AeframeError(f"modality 'video' writes {len(clips)} clips, found {len(titles)} names; pass one for each")
    if suffix in _SUFFIXES:
        files, clips_of_files = [path], [clips]
        if path.exists():
            raise AeframeError(f"'{path}' exists, and nothing is overwritten; remove it, or write elsewhere")
    else:
        starts = [number for number, title in enumerate(titles) if not number or title != titles[number - 1]]
        clips_of_files = np.split(clips, starts[1:])
        files = output_paths(
            path, [titles[start] for start in starts], suffix=".mp4", written={".gif"}, read=EXTENSIONS
        )
    for file, file_clips in zip(files, clips_of_files, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when it is complete, so that no partial file is visible under the final name.
        partial = file.with_name(f".partial-{file.name}")
        _write(partial, file_clips, rate)
        partial.rename(file)
    return files


def gif(pixels: Tensor, rate: float) -> bytes:
    """Return a uint8 clip ``(T, C, H, W)`` as the content of an animated GIF file that repeats."""
    frames = [Image.fromarray(frame.squeeze(-1)) for frame in pixels.permute(0, 2, 3, 1).numpy()]
    buffer = io.BytesIO()
    # Browsers slow down frames that are shown for less than 20 ms.
    duration = max(20, round(1000 / rate))
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
    return buffer.getvalue()


def _write(path: Path, clips: Frames, rate: float) -> None:
    """Write clips ``(N, T, H, W, C)`` to one file in the format of the suffix."""
    suffix, frames = path.suffix.lower(), clips.reshape(-1, *clips.shape[2:])
    grey = clips.shape[-1] == 1
    if suffix == ".npz":
        np.savez_compressed(path, x=clips[..., 0] if grey else clips)
    elif suffix == ".png":
        strips = film_strips(torch.from_numpy(clips).permute(0, 1, 4, 2, 3))
        Image.fromarray(strips.numpy()).save(path, format="PNG")
    elif suffix == ".gif":
        # Greyscale is exact; colour is reduced to a palette of 256 colours per frame.
        _encode(path, "gif", "gray" if grey else "pal8", frames, rate, {})
    else:
        # yuv420p is the most widely supported format. It halves the resolution of colour, which requires even sizes.
        even = clips.shape[2] % 2 == 0 and clips.shape[3] % 2 == 0
        _encode(path, "libx264", "yuv420p" if even else "yuv444p", frames, rate, _X264_OPTIONS)


def _encode(path: Path, codec: str, pixel_format: str, frames: Frames, rate: float, options: dict[str, str]) -> None:
    with av.open(str(path), "w") as container:
        # PyAV annotates a stream of any codec; all codecs here are of video.
        stream: Any = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
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
