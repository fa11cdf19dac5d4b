"""Small sounds and sound files for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe_audio.recordings import Recording

RATE = 8000
NEXT_STEP = "replace it, or skip such files with on_error=skip"


def sine(frames: int, *, hertz: float = 440.0, rate: int = RATE, channels: int = 1, amplitude: float = 0.5) -> NDArray:
    """Return a sine ``(frames, channels)``; each channel has half the amplitude of the previous one."""
    wave = amplitude * np.sin(2 * np.pi * hertz * np.arange(frames) / rate)
    return np.stack([wave / 2**k for k in range(channels)], 1)


def saved(path: Path, samples: NDArray | None = None, *, rate: int = RATE, subtype: str | None = None) -> Path:
    """Write a sound file, by default a sine of 400 samples, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sine(400) if samples is None else samples, rate, subtype=subtype)
    return path


def recording(path: Path) -> Recording:
    return Recording(str(path), path)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
