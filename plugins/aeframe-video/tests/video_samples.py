"""Small videos, made for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]


def counted(num: int, height: int = 16, width: int = 24, *, channels: int = 3, first: int = 0) -> Frames:
    """Frames ``(num, H, W, C)`` that are told apart by their brightness: frame k is 8 + 4 (first + k) all over."""
    levels = (8 + 4 * (first + np.arange(num))).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num, height, width, channels)).copy()


def number_of(frame: Any) -> int:
    """Which frame of `counted` this is."""
    return round((float(np.asarray(frame, float).mean()) - 8) / 4)


def save(path: Path, frames: Frames, *, rate: int = 10, codec: str = "libx264", **options: str) -> Path:
    """Write frames ``(N, H, W, 3)``; ``codec="ffv1"`` keeps every bit."""
    muxing = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    lossless = codec == "ffv1"
    with av.open(str(path), "w", options=muxing) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = ("gray" if frames.shape[-1] == 1 else "bgr0") if lossless else "yuv420p"
        stream.options = {"crf": "5", **options} if codec == "libx264" else options
        for frame in frames:
            picture = frame[..., 0] if frames.shape[-1] == 1 else frame
            form = "gray" if frames.shape[-1] == 1 else "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=form)))
        container.mux(stream.encode(None))
    return path


def cut_off(path: Path, share: float = 0.5) -> Path:
    """Drop the end of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def broken_end(path: Path) -> Path:
    """An MP4 of 30 frames whose last ones are damaged; its header is whole."""
    noisy = np.random.default_rng(0).integers(0, 40, (30, 32, 48, 3), dtype=np.uint8)
    save(path, noisy, movflags="faststart", crf="12", g="5", bf="0")
    data = bytearray(path.read_bytes())
    data[-200:] = bytes(200)
    path.write_bytes(bytes(data))
    return path


def save_frames(folder: Path, frames: Frames, name: str = "frame_{}.png") -> Path:
    """Write a folder of frames, without leading zeros in their names."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(number))
    return folder
