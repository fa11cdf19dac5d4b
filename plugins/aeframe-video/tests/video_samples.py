"""Small videos for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]


def numbered_frames(num: int, height: int = 16, width: int = 24, *, channels: int = 3, first: int = 0) -> Frames:
    """Return frames ``(num, H, W, C)``; all pixels of frame k have the brightness 8 + 4 (first + k)."""
    levels = (8 + 4 * (first + np.arange(num))).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num, height, width, channels)).copy()


def number_of(frame: Any) -> int:
    """Return the number of a frame of `numbered_frames`."""
    return round((float(np.asarray(frame, float).mean()) - 8) / 4)


def save(path: Path, frames: Frames, *, rate: int = 10, codec: str = "libx264", **options: str) -> Path:
    """Write frames ``(N, H, W, 3)``; ``codec="ffv1"`` is lossless."""
    muxing = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    lossless = codec == "ffv1"
    with av.open(str(path), "w", options=muxing) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = ("gray" if frames.shape[-1] == 1 else "bgr0") if lossless else "yuv420p"
        stream.options = {"crf": "5", **options} if codec == "libx264" else options
        for frame in frames:
            image = frame[..., 0] if frames.shape[-1] == 1 else frame
            pixel_format = "gray" if frames.shape[-1] == 1 else "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=pixel_format)))
        container.mux(stream.encode(None))
    return path


def truncate(path: Path, fraction: float = 0.5) -> Path:
    """Remove the end of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def save_damaged(path: Path) -> Path:
    """Write an MP4 of 30 frames whose last one is damaged; its header is intact."""
    noisy = np.random.default_rng(0).integers(0, 40, (30, 32, 48, 3), dtype=np.uint8)
    save(path, noisy, movflags="faststart", crf="12", g="5", bf="0")
    data = bytearray(path.read_bytes())
    data[-200:] = bytes(200)
    path.write_bytes(bytes(data))
    return path


def save_frames(folder: Path, frames: Frames, name: str = "frame_{}.png") -> Path:
    """Write a folder of frames whose names have no leading zeros."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(number))
    return folder
