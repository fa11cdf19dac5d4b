"""Random numbers as a function of integers: the seed, a stream and a position, such as the number of the batch.

A resumed run repeats them without a generator state in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

TRAINING, EVALUATION, PICTURES, ORDER, LOADING, SPLITTING, FITTING, SUBSET = range(8)
"""Independent streams of random numbers, one for each purpose: draws of one do not change another."""

# The 64 bits that the arithmetic of `mix` keeps.
_MASK = (1 << 64) - 1
# The constants of splitmix64 (Steele, Lea & Flood 2014).
INCREMENT, _FACTOR_1, _FACTOR_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def seed_noise(device: torch.device, *numbers: int) -> None:
    """Seed the default generators of the CPU and of `device` from integers, such as ``(seed, TRAINING, batch)``.

    It takes about a microsecond; `torch.manual_seed` seeds every backend and takes a hundred times as long.
    """
    seed = mix(*numbers)
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


def random_rows(num_rows: int, num: int, seed: int) -> Tensor:
    """Return `num` of the rows 0, ..., `num_rows` - 1, drawn without replacement; all of them if there are no more.

    Rows in file order may be sorted, by class for instance, so the first of them do not represent the others. The
    result is ascending ``(n,)``, since files are read faster in order. It is a function of the arguments and uses no
    generator, so that no other random numbers change.
    """
    rows = torch.arange(num_rows)
    return rows if num >= num_rows else smallest(subset_keys(rows, seed), num)


def subset_keys(rows: Tensor, seed: int) -> Tensor:
    """Return a pseudorandom integer ``(N,)`` for each row number ``(N,)``; the rows with the smallest are a subset.

    Rows that arrive in batches can so be reduced to a random subset, whatever their order and their total number.
    """
    return mix_elements(rows.long() + to_signed(mix(seed, SUBSET)))


def smallest(keys: Tensor, num: int) -> Tensor:
    """Return the positions of the `num` smallest keys ``(N,)``, ascending; of all if there are no more."""
    if num >= len(keys):
        return torch.arange(len(keys), device=keys.device)
    return keys.topk(num, largest=False, sorted=False).indices.sort().values


def mix_elements(values: Tensor) -> Tensor:
    """Hash each element of an int64 tensor to 64 bits, as splitmix64 does, on the device of the tensor."""
    # Products and sums of int64 wrap around, as those of unsigned integers do.
    values = values + to_signed(INCREMENT)
    values = (values ^ shift_right(values, 30)) * to_signed(_FACTOR_1)
    values = (values ^ shift_right(values, 27)) * to_signed(_FACTOR_2)
    return values ^ shift_right(values, 31)


def shift_right(values: Tensor, bits: int) -> Tensor:
    """Shift the elements of an int64 tensor to the right, and fill with zeros instead of the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def to_signed(number: int) -> int:
    """Return the signed integer with the same 64 bits."""
    number &= _MASK
    return number - (1 << 64) if number >> 63 else number


def mix(*numbers: int) -> int:
    """Hash integers to 64 bits with the finaliser of splitmix64."""
    state = 0
    for number in numbers:
        state = (state + number + INCREMENT) & _MASK
        state = ((state ^ (state >> 30)) * _FACTOR_1) & _MASK
        state = ((state ^ (state >> 27)) * _FACTOR_2) & _MASK
        state ^= state >> 31
    # A CPU generator uses the low 32 bits only, so the high bits are folded into them.
    return state ^ (state >> 32)
