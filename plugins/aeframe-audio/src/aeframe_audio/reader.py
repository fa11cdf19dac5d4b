"""Decode audio files and convert them to one sampling rate and number of channels.

Shapes: C channels, n samples in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from julius.resample import resample_frac
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_audio.decode import Block, Header, decode_blocks, read_header
from aeframe_audio.recordings import Recording
from aeframe_audio.scale import Overshoot

_ZEROS, _ROLLOFF = 24, 0.945
"""Width of the interpolation kernel in zero crossings, and its cutoff relative to the lower Nyquist frequency."""


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """The user's options for the format of all sounds; None keeps the format of the data."""

    rate: int | None = None
    """Samples per second."""
    channels: Literal[1, 2] | None = None

    def resolve(self, rate: int, channels: int) -> tuple[int, int]:
        """Return the rate and the number of channels that a file is converted to."""
        return self.rate or rate, self.channels or channels


@dataclass(frozen=True, slots=True)
class Sound:
    """An audio file, or a part of it, whose header was read."""

    recording: Recording
    header: Header

    @property
    def first(self) -> int:
        """The first sample of the part in the file."""
        return round(self.recording.begin * self.header.frames)

    @property
    def frames(self) -> int:
        """The number of samples of the part, per channel, at the rate of the file."""
        return max(1, round(self.recording.end * self.header.frames) - self.first)

    def decoded(self) -> Iterator[Block]:
        """Yield the sound in blocks ``(C, n)``, at the rate of the file."""
        return decode_blocks(self.recording, self.header, self.first, self.frames)


def open_sound(recording: Recording) -> Sound:
    """Read the header of a recording; see `read_header`."""
    return Sound(recording, read_header(recording))


@dataclass(frozen=True, slots=True)
class Reader:
    """Decodes files to float32 ``(channels, n)`` in [-1, 1] at `rate`.

    A file in another format is converted only if `options` set the rate or the number of channels. Resampling is
    band-limited (windowed sinc interpolation of julius). Stereo becomes mono by the mean of both channels, and mono
    becomes stereo by repetition.
    """

    options: FormatOptions
    rate: int
    channels: int
    scale: float = 1.0
    """The full scale of floating-point files: their samples are divided by it."""
    overshoot: Overshoot = field(default_factory=Overshoot, compare=False, repr=False)
    """Counts the samples that are clipped."""

    def __call__(self, recording: Recording) -> Tensor:
        """Decode a whole file, or the part of it that the recording is."""
        sound = open_sound(recording)
        self.check_convertible(recording.name, sound.header.rate, sound.header.channels)
        return torch.cat(list(self.blocks(sound)), 1)

    def blocks(self, sound: Sound) -> Iterator[Tensor]:
        """Yield a sound from begin to end in blocks, at `self.rate`. The memory does not depend on its length."""
        rate, done, total = sound.header.rate, 0, self.num_samples(sound)
        buffer, origin = torch.zeros(self.channels, 0), 0
        for block in sound.decoded():
            wave = self._mixed(block, sound.header)
            if rate == self.rate:
                yield self._clipped(wave, sound)
                continue
            step, margin = self._resampling(rate)
            buffer = torch.cat([buffer, wave], 1)
            end = origin + buffer.shape[1]
            stop = total if end == sound.frames else max(done, (end - margin) // step[0] * step[1])
            if stop > done:
                yield self._clipped(self._resampled(buffer, rate, origin, done, stop), sound)
                done = stop
                # What the next block needs stays: the input of its first sample, and the reach of the kernel before it.
                kept = max(origin, done // step[1] * step[0] - margin)
                buffer, origin = buffer[:, kept - origin :], kept

    def read(self, sound: Sound, start: int, length: int) -> Tensor:
        """Return ``(channels, length)`` from sample `start` on; fewer samples at the end of the sound.

        `start` and `length` count samples at `self.rate`. The samples equal those of the whole sound.
        """
        rate = sound.header.rate
        stop = min(start + length, self.num_samples(sound))
        if rate == self.rate:
            first, last = start, stop
        else:
            step, margin = self._resampling(rate)
            first = max(0, start // step[1] * step[0] - margin)
            last = min(sound.frames, -(-stop * step[0] // step[1]) + margin)
        blocks = list(decode_blocks(sound.recording, sound.header, sound.first + first, last - first))
        wave = self._mixed(np.concatenate(blocks, 1), sound.header)
        return self._clipped(wave if rate == self.rate else self._resampled(wave, rate, first, start, stop), sound)

    def check_convertible(self, name: str, rate: int, channels: int) -> None:
        """Check that the options allow the conversion of a sound.

        Raises:
            AeframeError: Another rate or number of channels without an option for it, or more than two channels.
        """
        options, found, expected = [], [], []
        if rate != self.rate and self.options.rate is None:
            options.append(f"modality.rate={self.rate}")
            found.append(f"{rate} Hz")
            expected.append(f"{self.rate} Hz")
        if channels != self.channels and self.options.channels is None:
            options.append(f"modality.channels={min(self.channels, channels)}")
            found.append(_num_channels(channels))
            expected.append(_num_channels(self.channels))
        if options:
            raise AeframeError(
                f"audio '{name}' has {' and '.join(found)}, expected {' and '.join(expected)}; convert all sounds with "
                f"{' '.join(options)}"
            )
        if channels > 2 and channels != self.channels:
            raise AeframeError(f"audio '{name}' has {channels} channels, expected 1 or 2; mix it down first")

    def num_samples(self, sound: Sound) -> int:
        """Return the number of samples per channel of a sound after resampling."""
        return max(1, sound.frames * self.rate // sound.header.rate)

    def convert_checked(self, wave: Tensor, rate: int, name: str) -> Tensor:
        """Convert as `convert`, if the options allow it; see `check_convertible`."""
        self.check_convertible(name, rate, len(wave))
        return self.convert(wave, rate)

    def convert(self, wave: Tensor, rate: int) -> Tensor:
        """Convert samples ``(C, n)`` of any rate to `self.rate` and `self.channels`."""
        wave = self._with_channels(wave)
        if rate == self.rate:
            return wave
        num_samples = max(1, wave.shape[1] * self.rate // rate)
        # Interpolation can exceed full scale.
        return self._resampled(wave, rate, 0, 0, num_samples).clamp_(-1.0, 1.0)

    def _mixed(self, block: Block, header: Header) -> Tensor:
        """Return a block ``(C, n)`` of a file with `self.channels`, divided by the full scale."""
        wave = torch.from_numpy(block)
        return self._with_channels(wave / self.scale if header.is_float and self.scale != 1.0 else wave)

    def _with_channels(self, wave: Tensor) -> Tensor:
        if len(wave) == self.channels:
            return wave
        return wave.mean(0, keepdim=True) if self.channels == 1 else wave.expand(self.channels, -1)

    def _resampling(self, rate: int) -> tuple[tuple[int, int], int]:
        """Return the samples of the file and of the result in the period of the resampling, and a margin in the file.

        The margin is at least the reach of the kernel. It is a whole number of periods, so that the samples of a part
        of a sound have the same phases as those of the whole.
        """
        divisor = math.gcd(rate, self.rate)
        period = (rate // divisor, self.rate // divisor)
        reach = math.ceil(_ZEROS * period[0] / (min(period) * _ROLLOFF)) + 1
        return period, -(-reach // period[0]) * period[0]

    def _resampled(self, wave: Tensor, rate: int, origin: int, start: int, stop: int) -> Tensor:
        """Return the samples from `start` to `stop` of the result, from the samples of the file from `origin` on."""
        period, _ = self._resampling(rate)
        skipped = origin // period[0] * period[1]
        resampled = resample_frac(wave, rate, self.rate, zeros=_ZEROS, rolloff=_ROLLOFF, output_length=stop - skipped)
        return resampled[:, start - skipped :]

    def _clipped(self, wave: Tensor, sound: Sound) -> Tensor:
        """Clip samples to [-1, 1], and count those beyond it; `find_scale` counts those of floating-point files."""
        size = wave.abs()
        beyond = 0 if sound.header.is_float and sound.header.rate == self.rate else int((size > 1).sum())
        self.overshoot.add(sound.recording.title, wave.numel(), beyond, float(size.max()) if beyond else 0.0)
        return wave.clamp(-1.0, 1.0) if bool((size > 1).any()) else wave


def _num_channels(number: int) -> str:
    return f"{number} channel" if number == 1 else f"{number} channels"
