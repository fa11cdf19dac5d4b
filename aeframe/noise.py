"""Noise as a function of where it is drawn: (seed, stream, position). Nothing about generators needs to be stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

TRAINING, EVALUATION, PICTURES, ORDER, LOADING, SPLITTING, FITTING = range(7)
"""Streams: what is drawn in one does not move the others."""

_MASK = (1 << 64) - 1


def seed_noise(device: torch.device, *numbers: int) -> None:
    """Set the default generators of the CPU and of `device` from some whole numbers.

    Costs about a microsecond: `torch.manual_seed` visits every backend and takes a hundred times as long.
    """
    seed = _mix(*numbers)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = device.index if device.index is not None else torch.cuda.current_device()
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


@contextmanager
def noise_of(device: torch.device, *numbers: int) -> Iterator[None]:
    """Draw from the noise at `numbers` inside, and leave the CPU's generator as it was outside."""
    before = torch.default_generator.get_state()
    seed_noise(device, *numbers)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


def _mix(*numbers: int) -> int:
    """Hash whole numbers to 64 bits (splitmix64's finaliser: Steele, Lea & Flood 2014), so that near ones differ."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    # A CPU generator keeps the low 32 bits: fold the others in.
    return state ^ (state >> 32)
