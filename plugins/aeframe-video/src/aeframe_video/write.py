"""Write clips to files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_video.decode import EXTENSIONS, FRAMES
from aeframe_video.render import strips

_FILES = frozenset({".mp4", ".gif", ".npz", ".png"})
_QUALITY = {"crf": "10", "preset": "medium"}
"""Of x264: near to lossless, since what is looked at here is what a model has lost."""

Frames = NDArray[np.uint8]


def write_clips(pixels: Tensor, path: Path, rate: float) -> list[Path]:
    """Write uint8 clips ``(N, T, C, H, W)`` at `rate` frames per second; return the files. See `Video.write`."""
    suffix = path.suffix.lower()
    if suffix in (EXTENSIONS | FRAMES | {".npy"}) - _FILES:
        raise AeframeError(
            f"modality 'video' writes MP4, GIF, NPZ and PNG (film strips), not '{path.name}'; end the path in one of "
            "them, or name a folder"
        )
    rows: Frames = pixels.permute(0, 1, 3, 4, 2).numpy()
    files = [path] if suffix in _FILES else [path / f"{number:06d}.mp4" for number in range(len(rows))]
    taken = next((file for file in files if file.exists()), None)
    if taken is not None:
        raise AeframeError(f"'{taken}' exists, and nothing is overwritten; remove it, or write elsewhere")
    (path.parent if suffix in _FILES else path).mkdir(parents=True, exist_ok=True)
    clips = [rows] if suffix in _FILES else [row[None] for row in rows]
    for file, own in zip(files, clips, strict=True):
        # Moved to its place once it is whole, so that nobody finds a half of it.
        partial = file.with_name(f".partial-{file.name}")
        _write(partial, own, rate)
        partial.rename(file)
    return files


def _write(path: Path, rows: Frames, rate: float) -> None:
    """Write clips ``(N, T, H, W, C)`` as the suffix says."""
    suffix, frames = path.suffix.lower(), rows.reshape(-1, *rows.shape[2:])
    grey = rows.shape[-1] == 1
    if suffix == ".npz":
        np.savez_compressed(path, x=rows[..., 0] if grey else rows)
    elif suffix == ".png":
        Image.fromarray(strips(torch.from_numpy(rows).permute(0, 1, 4, 2, 3)).numpy()).save(path, format="PNG")
    elif suffix == ".gif":
        # Grey exactly, and colour in 256 colours for each frame.
        _encode(path, "gif", "gray" if grey else "pal8", frames, rate, {})
    else:
        # Half the colour's resolution is what every player reads; only even sizes can be halved.
        halved = rows.shape[2] % 2 == 0 and rows.shape[3] % 2 == 0
        _encode(path, "libx264", "yuv420p" if halved else "yuv444p", frames, rate, _QUALITY)


def _encode(path: Path, codec: str, pixel_format: str, frames: Frames, rate: float, options: dict[str, str]) -> None:
    with av.open(str(path), "w") as container:
        # Typed by what it may be for any codec; these are all of pictures.
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
    chosen = Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE)
    colours = np.zeros((256, 4), np.uint8)
    palette = np.array(chosen.getpalette(), np.uint8).reshape(-1, 3)
    colours[:, 0], colours[: len(palette), 1:] = 255, palette
    # Not every version of PyAV types pictures with a palette.
    indexed: Any = (np.asarray(chosen), colours)
    return av.VideoFrame.from_ndarray(indexed, format="pal8")
