"""From sounds to batches of segments: random ones to train on, consecutive ones to measure on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.data.random_offsets import random_offsets
from aeframe.types import Batch
from aeframe_audio.decode import Header
from aeframe_audio.fit import Reader
from aeframe_audio.packed import Packed
from aeframe_audio.recordings import Recording

TRIES = 8
"""Places in a sound that are looked at for one that is loud enough."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Which segments are loud enough to train on: those whose root mean square is at least `level` dB of full scale."""

    level: float

    @property
    def power(self) -> float:
        """The mean square at that level."""
        return float(10 ** (self.level / 10))

    def choose(self, power: Tensor) -> Tensor:
        """Return ``(B,)``: the first of the tries ``(B, TRIES)`` that is loud enough, else the loudest."""
        loud = power >= self.power
        return torch.where(loud.any(1), loud.int().argmax(1), power.argmax(1))


class RandomSegments:
    """One segment of each sound for each epoch, at a place that is drawn; a sound that is shorter comes whole, masked.

    Args:
        sounds: In memory.
        length: Samples of a segment.
        gate: Segments below it are drawn again; the loudest of `TRIES` is taken where none is above.
        labels: ``(N,)``.
    """

    in_memory = True

    def __init__(self, sounds: Packed, length: int, *, gate: Gate | None, labels: Tensor | None) -> None:
        self._sounds, self._length, self._gate, self._labels = sounds, length, gate, labels
        self._energy = None if gate is None else sounds.energy()
        self._masked = bool((sounds.lengths < length).any())

    def __len__(self) -> int:
        return len(self._sounds)

    def batch(self, index: Tensor) -> Batch:
        """Return a segment of each of the sounds `index` ``(B,)``."""
        offset = self._offsets(index)
        x, counts = self._sounds.segments(index, offset, self._length)
        return _batch(x, counts if self._masked else None, index, self._labels)

    def _offsets(self, index: Tensor) -> Tensor:
        free = (self._sounds.lengths[index] - self._length).clamp(min=0) + 1
        if self._gate is None or self._energy is None:
            return random_offsets(free)
        tries = random_offsets(free.unsqueeze(1).expand(-1, TRIES))
        start = self._sounds.starts[index].unsqueeze(1) + tries
        counted = self._sounds.lengths[index].clamp(max=self._length).unsqueeze(1)
        power = (self._energy[start + counted] - self._energy[start]) / counted
        return tries.gather(1, self._gate.choose(power).unsqueeze(1)).squeeze(1)


class ConsecutiveSegments:
    """The whole of each sound, cut into segments one after the other; the last is masked where the sound ends."""

    in_memory = True

    def __init__(self, sounds: Packed, length: int, *, labels: Tensor | None) -> None:
        self._sounds, self._length, self._labels = sounds, length, labels
        self.sound, self.offset = cut(sounds.lengths, length)
        self._masked = bool((sounds.lengths % length != 0).any())

    def __len__(self) -> int:
        return len(self.sound)

    def batch(self, index: Tensor) -> Batch:
        """Return the segments `index` ``(B,)``; `Batch.index` is that of the sound."""
        sound = self.sound[index]
        x, counts = self._sounds.segments(sound, self.offset[index], self._length)
        return _batch(x, counts if self._masked else None, sound, self._labels)


class FileSegments:
    """The same of recordings that do not fit in memory: only what a segment needs is decoded.

    Args:
        recordings: Files.
        headers: What each says of itself.
        reader: Brings them to one rate.
        length: Samples of a segment.
        random: Random segments, one for each recording; otherwise consecutive ones.
        gate: See `RandomSegments`.
        labels: ``(N,)``.
    """

    in_memory = False

    def __init__(
        self,
        recordings: list[Recording],
        headers: list[Header],
        reader: Reader,
        length: int,
        *,
        random: bool,
        gate: Gate | None,
        labels: Tensor | None,
    ) -> None:
        self._recordings, self._headers, self._reader, self._length = recordings, headers, reader, length
        self._random, self._gate, self._labels = random, gate, labels
        self._lengths = torch.tensor([reader.length(header) for header in headers])
        self._cut = (torch.arange(len(headers)), None) if random else cut(self._lengths, length)

    def __len__(self) -> int:
        return len(self._cut[0])

    def batch(self, index: Tensor) -> Batch:
        """Return the segments `index` ``(B,)``."""
        sound, offset = self._cut[0][index], None if self._cut[1] is None else self._cut[1][index]
        x = torch.zeros(len(index), self._reader.channels, self._length)
        counts = torch.zeros(len(index), self._length, dtype=torch.bool)
        for row, number in enumerate(sound.tolist()):
            wave = self._drawn(number) if offset is None else self._read(number, int(offset[row]))
            x[row, :, : wave.shape[1]], counts[row, : wave.shape[1]] = wave, True
        return _batch(x, counts, sound, self._labels)

    def _drawn(self, number: int) -> Tensor:
        free = max(0, int(self._lengths[number]) - self._length) + 1
        offsets = random_offsets(torch.full((TRIES,), free)).tolist()
        first = self._read(number, offsets[0])
        if self._gate is None or free == 1:
            return first
        loudest = first
        for offset in offsets[1:]:
            if float(loudest.square().mean()) >= self._gate.power:
                break
            wave = self._read(number, offset)
            loudest = max(loudest, wave, key=lambda each: float(each.square().mean()))
        return loudest

    def _read(self, number: int, offset: int) -> Tensor:
        return self._reader.segment(self._recordings[number], self._headers[number], offset, self._length)


def cut(lengths: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return the sound ``(M,)`` and the place in it ``(M,)`` of each consecutive segment of sounds ``(N,)``."""
    parts = -(-lengths // length)
    sound = torch.arange(len(lengths)).repeat_interleave(parts)
    first = (parts.cumsum(0) - parts)[sound]
    return sound, (torch.arange(len(sound)) - first) * length


def _batch(x: Tensor, counts: Tensor | None, sound: Tensor, labels: Tensor | None) -> Batch:
    mask = None if counts is None else counts.unsqueeze(1).expand_as(x).contiguous()
    return Batch(x, mask, None, sound, {} if labels is None else {"label": labels[sound]})
