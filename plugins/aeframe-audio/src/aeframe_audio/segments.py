"""Sources of fixed-length segments of sounds: random ones for training, consecutive ones for evaluation.

Shapes: N sounds, B segments, C channels, T samples of a segment.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aeframe.data.random_offsets import random_offsets
from aeframe.types import Batch
from aeframe_audio.decode import Header
from aeframe_audio.packed import PackedSounds
from aeframe_audio.reader import Reader
from aeframe_audio.recordings import Recording
from aeframe_audio.spectra import power_of_decibels

TRIES = 8
"""Random segments of a sound that are candidates when a loudness gate chooses one of them."""


@dataclass(frozen=True, slots=True)
class LoudnessGate:
    """Accepts segments with a root mean square of at least `level` dB of full scale."""

    level: float

    @property
    def power(self) -> float:
        """The mean square at that level."""
        return power_of_decibels(self.level)

    def choose(self, power: Tensor) -> Tensor:
        """Return ``(B,)``: the first of the candidates ``(B, TRIES)`` that is accepted, otherwise the loudest.

        Args:
            power: ``(B, TRIES)``, the mean square of each candidate.
        """
        accepted = power >= self.power
        return torch.where(accepted.any(1), accepted.int().argmax(1), power.argmax(1))


class RandomSegments:
    """One random segment per sound and epoch. Shorter sounds are padded and masked.

    Args:
        sounds: The sounds in memory.
        length: Samples of a segment.
        gate: Chooses each segment among `TRIES` random candidates: the first that is loud enough, otherwise the
            loudest. None draws a single segment.
        labels: ``(N,)``, the class of each sound.
    """

    in_memory = True

    def __init__(self, sounds: PackedSounds, length: int, *, gate: LoudnessGate | None, labels: Tensor | None) -> None:
        self._sounds, self._length, self._gate, self._labels = sounds, length, gate, labels
        self._energy = None if gate is None else sounds.cumulative_energy()
        self._masked = bool((sounds.lengths < length).any())

    def __len__(self) -> int:
        return len(self._sounds)

    def batch(self, index: Tensor) -> Batch:
        """Return one segment of each of the sounds `index` ``(B,)``."""
        x, mask = self._sounds.segments(index, self._random_offsets(index), self._length)
        return _batch(x, mask if self._masked else None, index, self._labels)

    def _random_offsets(self, index: Tensor) -> Tensor:
        """Return the first sample ``(B,)`` of each segment in its sound."""
        num_offsets = (self._sounds.lengths[index] - self._length).clamp(min=0) + 1
        if self._gate is None or self._energy is None:
            return random_offsets(num_offsets)
        candidates = random_offsets(num_offsets.unsqueeze(1).expand(-1, TRIES))
        start = self._sounds.starts[index].unsqueeze(1) + candidates
        num_samples = self._sounds.lengths[index].clamp(max=self._length).unsqueeze(1)
        power = (self._energy[start + num_samples] - self._energy[start]) / num_samples
        return candidates.gather(1, self._gate.choose(power).unsqueeze(1)).squeeze(1)


class ConsecutiveSegments:
    """All sounds, cut into consecutive segments. The last segment of a sound is padded and masked."""

    in_memory = True

    def __init__(self, sounds: PackedSounds, length: int, *, labels: Tensor | None) -> None:
        self._sounds, self._length, self._labels = sounds, length, labels
        self.sound, self.offset = consecutive_segments(sounds.lengths, length)
        self._masked = bool((sounds.lengths % length != 0).any())

    def __len__(self) -> int:
        return len(self.sound)

    def batch(self, index: Tensor) -> Batch:
        """Return the segments `index` ``(B,)``; `Batch.index` is the number of the sound."""
        sound = self.sound[index]
        x, mask = self._sounds.segments(sound, self.offset[index], self._length)
        return _batch(x, mask if self._masked else None, sound, self._labels)


class FileSegments:
    """Segments of files that do not fit into memory: each batch decodes its own segments.

    Args:
        recordings: The files.
        headers: The format of each file.
        reader: Decodes the files to one format.
        length: Samples of a segment.
        random: Return one random segment per file and epoch; otherwise all consecutive segments.
        gate: See `RandomSegments`.
        labels: ``(N,)``, the class of each file.
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
        gate: LoudnessGate | None,
        labels: Tensor | None,
    ) -> None:
        self._recordings, self._headers, self._reader, self._length = recordings, headers, reader, length
        self._gate, self._labels = gate, labels
        self._lengths = torch.tensor([reader.num_samples(header) for header in headers])
        # The file of each segment, and its first sample in the file; None if that is random.
        self._sound = torch.arange(len(headers))
        self._offset: Tensor | None = None
        if not random:
            self._sound, self._offset = consecutive_segments(self._lengths, length)

    def __len__(self) -> int:
        return len(self._sound)

    def batch(self, index: Tensor) -> Batch:
        """Return the segments `index` ``(B,)``; `Batch.index` is the number of the file."""
        sound = self._sound[index]
        x = torch.zeros(len(index), self._reader.channels, self._length)
        mask = torch.zeros(len(index), self._length, dtype=torch.bool)
        for row, number in enumerate(sound.tolist()):
            if self._offset is None:
                wave = self._read_random(number)
            else:
                wave = self._read(number, int(self._offset[index[row]]))
            x[row, :, : wave.shape[1]], mask[row, : wave.shape[1]] = wave, True
        return _batch(x, mask, sound, self._labels)

    def _read_random(self, number: int) -> Tensor:
        """Return a random segment of one file, chosen by the gate as in `RandomSegments`."""
        num_offsets = max(0, int(self._lengths[number]) - self._length) + 1
        offsets = random_offsets(torch.full((TRIES,), num_offsets)).tolist()
        chosen = self._read(number, offsets[0])
        if self._gate is None or num_offsets == 1:
            return chosen
        # The loudest candidate so far is kept until one is accepted, so that later ones need not be decoded.
        for offset in offsets[1:]:
            if float(chosen.square().mean()) >= self._gate.power:
                break
            chosen = max(chosen, self._read(number, offset), key=lambda wave: float(wave.square().mean()))
        return chosen

    def _read(self, number: int, offset: int) -> Tensor:
        return self._reader.read_segment(self._recordings[number], self._headers[number], offset, self._length)


def consecutive_segments(lengths: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return the number of the sound ``(M,)`` and the first sample in it ``(M,)`` of each consecutive segment.

    Args:
        lengths: ``(N,)``, samples of each sound.
        length: Samples of a segment.
    """
    num_segments = -(-lengths // length)
    sound = torch.arange(len(lengths)).repeat_interleave(num_segments)
    first_segment = (num_segments.cumsum(0) - num_segments)[sound]
    return sound, (torch.arange(len(sound)) - first_segment) * length


def _batch(x: Tensor, mask: Tensor | None, sound: Tensor, labels: Tensor | None) -> Batch:
    """Return a batch from segments ``(B, C, T)``, a mask ``(B, T)`` and the numbers of the sounds ``(B,)``."""
    full_mask = None if mask is None else mask.unsqueeze(1).expand_as(x).contiguous()
    extras = {} if labels is None else {"label": labels[sound]}
    return Batch(x, mask=full_mask, index=sound, extras=extras)
