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
        quantised = [_quantised(wave) for wave in sounds]
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


class Packing:
    """Memory for sounds that are decoded block by block, so that no second copy of them exists.

    Args:
        channels: C.
        num_samples: Samples of all sounds together.
    """

    def __init__(self, channels: int, num_samples: int) -> None:
        self._samples = torch.empty(channels, num_samples, dtype=torch.int16)
        self._lengths: list[int] = []
        self._used = 0

    def add(self, blocks: Iterable[Tensor]) -> None:
        """Store one sound, given as blocks ``(C, n)`` in [-1, 1]. After an error nothing of it is kept."""
        end = self._used
        for block in blocks:
            self._samples[:, end : end + block.shape[1]] = _quantised(block)
            end += block.shape[1]
        self._lengths.append(end - self._used)
        self._used = end

    def packed(self) -> PackedSounds:
        """Return the stored sounds."""
        lengths = torch.tensor(self._lengths)
        return PackedSounds(self._samples[:, : self._used], lengths.cumsum(0) - lengths, lengths)


def as_16_bits(wave: Tensor) -> Tensor:
    """Return samples in [-1, 1] rounded to 16 bits, as those that `PackedSounds` returns."""
    return _quantised(wave).float().div_(_FULL_SCALE)


def _quantised(wave: Tensor) -> Tensor:
    return (wave * _FULL_SCALE).round().clamp(-_FULL_SCALE, _FULL_SCALE - 1).to(torch.int16)
