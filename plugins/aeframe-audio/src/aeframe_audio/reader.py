"""Decode audio files and convert them to one sampling rate and number of channels.

Shapes: C channels, n samples in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from julius.resample import resample_frac
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_audio.decode import Header, decode
from aeframe_audio.recordings import Recording


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """The user's options for the format of all sounds; None keeps the format of the data."""

    rate: int | None = None
    """Samples per second."""
    channels: Literal[1, 2] | None = None

    def resolve(self, header: Header) -> tuple[int, int]:
        """Return the rate and the number of channels that a file with this header is converted to."""
        return self.rate or header.rate, self.channels or header.channels


@dataclass(frozen=True, slots=True)
class Reader:
    """Decodes files to float32 ``(channels, n)`` at `rate`.

    A file in another format is converted only if `options` set the rate or the number of channels. Resampling is
    band-limited (windowed sinc interpolation of julius). Stereo becomes mono by the mean of both channels, and mono
    becomes stereo by repetition.
    """

    options: FormatOptions
    rate: int
    channels: int

    def __call__(self, recording: Recording) -> Tensor:
        """Decode a whole file."""
        wave, rate = decode(recording)
        return self.convert_checked(wave, rate, recording.name)

    def read_segment(self, recording: Recording, header: Header, start: int, length: int) -> Tensor:
        """Decode ``(channels, length)`` from sample `start` on; fewer samples at the end of the file.

        `start` and `length` count samples at `self.rate`.
        """
        if header.rate == self.rate:
            return self.convert(decode(recording, start, length)[0], header.rate)
        # `start` and `length` in samples of the file, the length rounded up and one more.
        first = start * header.rate // self.rate
        wave, rate = decode(recording, first, -(-length * header.rate // self.rate) + 1)
        return self.convert(wave, rate)[:, :length]

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

    def num_samples(self, header: Header) -> int:
        """Return the number of samples per channel of a file after resampling."""
        return max(1, header.frames * self.rate // header.rate)

    def convert_checked(self, wave: Tensor, rate: int, name: str) -> Tensor:
        """Convert as `convert`, if the options allow it; see `check_convertible`."""
        self.check_convertible(name, rate, len(wave))
        return self.convert(wave, rate)

    def convert(self, wave: Tensor, rate: int) -> Tensor:
        """Convert samples ``(C, n)`` of any rate to `self.rate` and `self.channels`."""
        if len(wave) != self.channels:
            wave = wave.mean(0, keepdim=True) if self.channels == 1 else wave.expand(self.channels, -1)
        if rate == self.rate:
            return wave
        num_samples = max(1, wave.shape[1] * self.rate // rate)
        # Interpolation can exceed full scale.
        return resample_frac(wave, rate, self.rate, output_length=num_samples).clamp_(-1.0, 1.0)


def _num_channels(number: int) -> str:
    return f"{number} channel" if number == 1 else f"{number} channels"
