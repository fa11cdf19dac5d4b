"""Random numbers as a function of integers: the seed, a stream and a position, such as the number of the batch.

A resumed run repeats them without a generator state in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

TRAINING, EVALUATION, PICTURES, ORDER, LOADING, SPLITTING, FITTING = range(7)
"""Independent streams of random numbers, one for each purpose: draws of one do not change another."""

# The 64 bits that the arithmetic of `_mix` keeps.
_MASK = (1 << 64) - 1


def seed_noise(device: torch.device, *numbers: int) -> None:
    """Seed the default generators of the CPU and of `device` from integers, such as ``(seed, TRAINING, batch)``.

    It takes about a microsecond; `torch.manual_seed` seeds every backend and takes a hundred times as long.
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
    """Seed the generators from `numbers` inside the context, and restore the CPU's generator after it."""
    state = torch.default_generator.get_state()
    seed_noise(device, *numbers)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


def _mix(*numbers: int) -> int:
    """Hash integers to 64 bits with the finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    # A CPU generator uses the low 32 bits only, so the high bits are folded into them.
    return state ^ (state >> 32)
