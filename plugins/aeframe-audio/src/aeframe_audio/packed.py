"""`PackedSounds`: sounds of any lengths concatenated in one tensor, from which batches of segments are gathered.

Shapes: N sounds, B segments, C channels. A sample is one value per channel at one time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

_FULL_SCALE = 32768.0


@dataclass(slots=True)
class PackedSounds:
    """N sounds, stored with 16 bits per sample."""

    samples: Tensor
    """``(C, total)`` int16: all sounds, one after another."""
    starts: Tensor
    """``(N,)``: the position of the first sample of each sound in `samples`."""
    lengths: Tensor
    """``(N,)``: the number of samples of each sound."""

    @classmethod
    def pack(cls, sounds: Iterable[Tensor]) -> PackedSounds:
        """Pack sounds ``(C, n)`` in [-1, 1]."""
        quantised = [
            (wave * _FULL_SCALE).round().clamp(-_FULL_SCALE, _FULL_SCALE - 1).to(torch.int16) for wave in sounds
        ]
        lengths = torch.tensor([wave.shape[1] for wave in quantised])
        return cls(torch.cat(quantised, 1), lengths.cumsum(0) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    def segments(self, sound: Tensor, offset: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return segments ``(B, C, length)``, 0 after the end of a sound, and their mask ``(B, length)``.

        Args:
            sound: ``(B,)``, the number of each sound.
            offset: ``(B,)``, the first sample of each segment in its sound.
            length: Samples of a segment.
        """
        sample = torch.arange(length)
        position = (self.starts[sound] + offset).unsqueeze(1) + sample
        mask = sample < (self.lengths[sound] - offset).unsqueeze(1)
        # Positions after the last sound are masked below.
        samples = self.samples[:, position.clamp(max=self.samples.shape[1] - 1)].movedim(0, 1)
        return samples.float().div(_FULL_SCALE).masked_fill(~mask.unsqueeze(1), 0.0), mask

    def cumulative_energy(self) -> Tensor:
        """Return ``(total + 1,)`` float64: the sum of the squares of all preceding samples, averaged over channels."""
        squares = (self.samples.double() / _FULL_SCALE).square().mean(0)
        return torch.cat([squares.new_zeros(1), squares.cumsum(0)])
