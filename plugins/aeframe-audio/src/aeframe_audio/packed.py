"""Sounds of any lengths end to end in one tensor, so that a batch of segments is one gather."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

_FULL_SCALE = 32768.0


@dataclass(slots=True)
class Packed:
    """N sounds, kept with 16 bits."""

    samples: Tensor
    """``(C, total)`` int16."""
    starts: Tensor
    """``(N,)``: where each begins."""
    lengths: Tensor
    """``(N,)`` samples of each."""

    @classmethod
    def of(cls, sounds: Iterable[Tensor]) -> Packed:
        """Pack sounds ``(C, n)`` in [-1, 1]."""
        stored = [(wave * _FULL_SCALE).round().clamp(-_FULL_SCALE, _FULL_SCALE - 1).to(torch.int16) for wave in sounds]
        lengths = torch.tensor([wave.shape[1] for wave in stored])
        return cls(torch.cat(stored, 1), lengths.cumsum(0) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    def segments(self, sound: Tensor, offset: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the samples ``(B, C, length)`` of sounds ``(B,)`` from `offset` ``(B,)`` on, 0 beyond the end of each,
        and ``(B, length)``, True before it.
        """
        step = torch.arange(length)
        place = (self.starts[sound] + offset).unsqueeze(1) + step
        counts = step < (self.lengths[sound] - offset).unsqueeze(1)
        found = self.samples[:, place.clamp(max=self.samples.shape[1] - 1)].movedim(0, 1)
        return found.float().div(_FULL_SCALE).masked_fill(~counts.unsqueeze(1), 0.0), counts

    def energy(self) -> Tensor:
        """Return ``(total + 1,)``: the sum of squares of all samples before each, the mean of channels, in float64."""
        squares = (self.samples.double() / _FULL_SCALE).square().mean(0)
        return torch.cat([squares.new_zeros(1), squares.cumsum(0)])
