"""Sources of fixed-length segments of sounds: random ones for training, consecutive ones for evaluation.

Shapes: N sounds, B segments, C channels, T samples of a segment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.random_offsets import random_offsets
from aeframe.types import Batch
from aeframe_audio.packed import PackedSounds, as_16_bits
from aeframe_audio.reader import Reader, Sound
from aeframe_audio.spectra import power_of_decibels

TRIES = 8
"""Random segments of a sound that are candidates when a loudness gate chooses one of them."""

ReadSegments = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Returns segments ``(B, C, T)``, 0 after the end of a sound, and their mask ``(B, T)``, of sounds ``(B,)`` from the
samples ``(B,)`` on."""


@dataclass(frozen=True, slots=True)
class LoudnessGate:
    """Accepts segments with a root mean square of at least `level` dB of full scale."""

    level: float

    @property
    def power(self) -> float:
        """The mean square at that level."""
        return power_of_decibels(self.level)

    def choose(self, read: ReadSegments, sound: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first of the segments at `candidates` that is accepted, otherwise the loudest.

        Args:
            read: Reads segments. Later candidates are read only for sounds without an accepted one.
            sound: ``(B,)``, the number of each sound.
            candidates: ``(B, TRIES)``, the first sample of each candidate.
        """
        x, mask = read(sound, candidates[:, 0])
        power = _power(x, mask)
        for number in range(1, candidates.shape[1]):
            differs = (candidates != candidates[:, :1]).any(1)
            rows = ((power < self.power) & differs).nonzero().squeeze(1)
            if not len(rows):
                break
            new_x, new_mask = read(sound[rows], candidates[rows, number])
            new_power = _power(new_x, new_mask)
            louder = new_power > power[rows]
            better = rows[louder]
            x[better], mask[better], power[better] = new_x[louder], new_mask[louder], new_power[louder]
        return x, mask


def _power(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean square ``(B,)`` of segments over the samples of their sound."""
    return x.square().mean(1).sum(1) / mask.sum(1).clamp(min=1)


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies N sounds in outputs."""

    names: list[str]
    rate: int
    """Samples per second of the segments."""
    begins: list[float] | None = None
    """The time in seconds at which each sound begins in its recording; None for 0."""

    def columns(self, sound: Tensor, offset: Tensor | None, segment: Tensor | None) -> Mapping[str, NDArray[Any]]:
        """Return the columns of segments: ``name``, and ``start`` in seconds and ``segment`` of consecutive ones."""
        numbers = sound.numpy()
        columns: dict[str, NDArray[Any]] = {"name": np.array(self.names)[numbers]}
        if offset is not None and segment is not None:
            begins = 0.0 if self.begins is None else np.array(self.begins)[numbers]
            columns |= {"start": begins + offset.numpy() / self.rate, "segment": segment.numpy()}
        return columns


class _Segments:
    """Base class of the sources: which segments there are, and what identifies them.

    Args:
        read: Reads segments.
        lengths: ``(N,)``, samples of each sound.
        length: Samples of a segment.
        random: Draw segments at random, as many as the sounds hold, at least one of each; otherwise all consecutive
            segments, of which the last of a sound is padded and masked.
        gate: Chooses each random segment among `TRIES` candidates: the first that is loud enough, otherwise the
            loudest. None draws a single segment.
        labels: ``(N,)``, the class of each sound.
        identity: What identifies the sounds; None for nothing.
        first_numbers: ``(N,)``, the `Batch.index` of the first segment of each sound; None counts all segments.
    """

    def __init__(
        self,
        read: ReadSegments,
        lengths: Tensor,
        length: int,
        *,
        random: bool,
        gate: LoudnessGate | None,
        labels: Tensor | None,
        identity: Identity | None,
        first_numbers: Tensor | None = None,
    ) -> None:
        self._read, self._lengths, self._length, self._gate = read, lengths, length, gate
        self._labels, self._identity = labels, identity
        num_segments = (lengths // length).clamp(min=1) if random else -(-lengths // length)
        self.sound = torch.arange(len(lengths)).repeat_interleave(num_segments)
        self._segment = torch.arange(len(self.sound)) - (num_segments.cumsum(0) - num_segments)[self.sound]
        self.offset = None if random else self._segment * length
        first = num_segments.cumsum(0) - num_segments if first_numbers is None else first_numbers
        self._index = first[self.sound] + self._segment
        self._masked = bool((lengths < length).any() if random else (lengths % length != 0).any())

    def __len__(self) -> int:
        return len(self.sound)

    def batch(self, index: Tensor) -> Batch:
        """Return the segments `index` ``(B,)``."""
        sound = self.sound[index]
        if self.offset is not None:
            x, mask = self._read(sound, self.offset[index])
        else:
            num_offsets = (self._lengths[sound] - self._length).clamp(min=0) + 1
            if self._gate is None:
                x, mask = self._read(sound, random_offsets(num_offsets))
            else:
                candidates = random_offsets(num_offsets.unsqueeze(1).expand(-1, TRIES))
                x, mask = self._gate.choose(self._read, sound, candidates)
        full_mask = mask.unsqueeze(1).expand_as(x).contiguous() if self._masked else None
        extras = {} if self._labels is None else {"label": self._labels[sound]}
        return Batch(x, mask=full_mask, index=self._index[index], extras=extras)

    def columns(self, index: Tensor) -> Mapping[str, NDArray[Any]]:
        """Return what identifies the segments `index` ``(n,)``: the ``name`` of the sound, ``start`` and ``segment``.

        ``start`` is the time in seconds in the recording, and ``segment`` the number of the segment in its sound.
        Random segments have a name only.
        """
        if self._identity is None:
            return {}
        offset = None if self.offset is None else self.offset[index]
        return self._identity.columns(self.sound[index], offset, self._segment[index])


class RandomSegments(_Segments):
    """Random segments of sounds in memory; see `_Segments`. An epoch has as many as the sounds hold."""

    in_memory = True

    def __init__(
        self,
        sounds: PackedSounds,
        length: int,
        *,
        gate: LoudnessGate | None,
        labels: Tensor | None,
        identity: Identity | None = None,
    ) -> None:
        super().__init__(
            _reading(sounds, length), sounds.lengths, length, random=True, gate=gate, labels=labels, identity=identity
        )


class ConsecutiveSegments(_Segments):
    """Sounds in memory, cut into consecutive segments; see `_Segments`."""

    in_memory = True

    def __init__(
        self, sounds: PackedSounds, length: int, *, labels: Tensor | None, identity: Identity | None = None
    ) -> None:
        super().__init__(
            _reading(sounds, length), sounds.lengths, length, random=False, gate=None, labels=labels, identity=identity
        )


class FileSegments(_Segments):
    """Segments of files: each batch decodes its own. See `_Segments` for the other arguments.

    Args:
        sounds: The files.
        reader: Decodes them to one format.
    """

    in_memory = False

    def __init__(
        self,
        sounds: list[Sound],
        reader: Reader,
        length: int,
        *,
        random: bool,
        gate: LoudnessGate | None,
        labels: Tensor | None,
        identity: Identity | None = None,
        first_numbers: Tensor | None = None,
    ) -> None:
        self._sounds, self._reader = sounds, reader
        lengths = torch.tensor([reader.num_samples(sound) for sound in sounds])
        super().__init__(
            self._decode,
            lengths,
            length,
            random=random,
            gate=gate,
            labels=labels,
            identity=identity,
            first_numbers=first_numbers,
        )

    def _decode(self, sound: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Return segments ``(B, C, T)`` and their mask; neighbouring segments of a sound are decoded at once."""
        length, numbers, offsets = self._length, sound.tolist(), offset.tolist()
        x = torch.zeros(len(sound), self._reader.channels, length)
        mask = torch.zeros(len(sound), length, dtype=torch.bool)
        row = 0
        while row < len(numbers):
            end = row + 1
            while end < len(numbers) and (numbers[end], offsets[end]) == (numbers[row], offsets[end - 1] + length):
                end += 1
            # Rounded as sounds in memory are, so that `max_memory_mb` does not change the data.
            wave = as_16_bits(self._reader.read(self._sounds[numbers[row]], offsets[row], (end - row) * length))
            for number, part in enumerate(wave.split(length, 1)):
                x[row + number, :, : part.shape[1]], mask[row + number, : part.shape[1]] = part, True
            row = end
        return x, mask


def _reading(sounds: PackedSounds, length: int) -> ReadSegments:
    """Return a function that reads segments of `length` samples of sounds in memory."""

    def read(sound: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        return sounds.segments(sound, offset, length)

    return read
