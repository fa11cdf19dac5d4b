"""Bring sounds to one sampling rate and one number of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from julius.resample import resample_frac
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_audio.decode import Header, decode
from aeframe_audio.recordings import Recording


@dataclass(frozen=True, slots=True)
class Fit:
    """What the user asked sounds to be brought to; None leaves a thing as the data have it."""

    rate: int | None = None
    channels: Literal[1, 2] | None = None

    def header(self, found: Header) -> tuple[int, int]:
        """Return the rate and the channels that a sound with this header gets."""
        return self.rate or found.rate, self.channels or found.channels


@dataclass(frozen=True, slots=True)
class Reader:
    """Decode recordings to float32 ``(channels, n)`` at `rate`, as far as the options say how.

    Another rate is reached by band-limited interpolation (Smith's method, as julius does it). Two channels become one
    by their mean; one becomes two by repeating it.
    """

    fit: Fit
    rate: int
    channels: int

    def __call__(self, recording: Recording) -> Tensor:
        """Decode the whole of a recording."""
        wave, rate = decode(recording)
        self.check(recording.name, rate, len(wave))
        return self.fitted(wave, rate)

    def segment(self, recording: Recording, header: Header, start: int, length: int) -> Tensor:
        """Decode `length` samples from `start` on, both at the rate that they are brought to; fewer at the end."""
        if header.rate == self.rate:
            return self.fitted(decode(recording, start, length)[0], header.rate)
        first = start * header.rate // self.rate
        wave, rate = decode(recording, first, -(-length * header.rate // self.rate) + 1)
        return self.fitted(wave, rate)[:, :length]

    def check(self, name: str, rate: int, channels: int) -> None:
        """Refuse a sound that the options do not say how to bring to the rate and channels of the others.

        Raises:
            AeframeError: It is of another rate, or has other channels.
        """
        options, found = [], []
        if rate != self.rate and self.fit.rate is None:
            options.append(f"modality.rate={self.rate}")
            found.append((f"{rate} Hz", f"{self.rate} Hz"))
        if channels != self.channels and self.fit.channels is None:
            options.append(f"modality.channels={min(self.channels, channels)}")
            found.append((f"{channels} channels", str(self.channels)))
        if found:
            here, others = (" and ".join(words) for words in zip(*found, strict=True))
            raise AeframeError(
                f"audio '{name}' has {here}, where {others} is expected; bring all sounds to one with "
                f"{' '.join(options)}"
            )
        if channels > 2 and channels != self.channels:
            raise AeframeError(
                f"audio '{name}' has {channels} channels, and only one or two can be mixed; mix it first"
            )

    def length(self, header: Header) -> int:
        """Return how many samples a recording has once it is brought to the rate."""
        return max(1, header.frames * self.rate // header.rate)

    def fitted(self, wave: Tensor, rate: int) -> Tensor:
        """Bring samples ``(C, n)`` to the rate and the channels."""
        if len(wave) != self.channels:
            wave = wave.mean(0, keepdim=True) if self.channels == 1 else wave.expand(self.channels, -1)
        if rate == self.rate:
            return wave
        made = resample_frac(wave, rate, self.rate, output_length=max(1, wave.shape[1] * self.rate // rate))
        # Interpolation overshoots where a sound is near full scale.
        return made.clamp_(-1.0, 1.0)
