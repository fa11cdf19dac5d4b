"""The full scale of floating-point sounds, whose values may lie beyond -1 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aeframe.errors import AeframeError
from aeframe_audio.decode import Header, decode_blocks
from aeframe_audio.recordings import Recording

_INTEGER_SCALES = {16: 2.0**15, 24: 2.0**23, 32: 2.0**31}
"""The full scale of integers by their bits."""
_LEAST_INTEGER_PEAK = 128.0
"""Whole numbers up to this one may be anything: numbers of 8 bits, or of 16 bits in a quiet sound."""
_MOST_OVERSHOOT = 2.0
_MOST_BEYOND = 0.01
"""Up to this peak (6 dB) and this fraction of the samples, values beyond full scale are clipped; above, refused."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The values of one floating-point sound."""

    name: str
    peak: float
    """The largest absolute value."""
    is_whole: bool
    """Whether all values are whole numbers."""
    num_samples: int
    num_beyond: int
    """Samples whose absolute value is above the limit that `scan` was called with."""


def scan(recording: Recording, header: Header, first: int, frames: int, *, limit: float = 1.0) -> ValueRange:
    """Read a sound block by block, and return the range of its values.

    Args:
        recording: The file.
        header: Its format.
        first: The first sample.
        frames: The number of samples.
        limit: Samples beyond it are counted.

    Raises:
        AeframeError: The file cannot be decoded, or has NaN.
    """
    peak, is_whole, beyond, total = 0.0, True, 0, 0
    for block in decode_blocks(recording, header, first, frames):
        size = np.abs(block)
        peak = max(peak, float(size.max()))
        is_whole = is_whole and bool((size == np.floor(size)).all())
        beyond += int((size > limit).sum())
        total += block.size
    return ValueRange(recording.name, peak, is_whole, total, beyond)


def find_scale(
    ranges: Sequence[ValueRange], *, option: float | None, expected: float = 1.0, can_set: bool = True
) -> tuple[float, str | None]:
    """Return the full scale by which floating-point sounds are divided, and a sentence if that changes them.

    Sounds of whole numbers beyond 128 have the scale of 16-, 24- or 32-bit integers, the first that holds them.

    Args:
        ranges: The sounds. With `option` they count samples beyond it.
        option: The scale that the user set; None finds it.
        expected: The scale that was found in training, for sounds of whole numbers.
        can_set: Whether the option `modality.scale` can be set, for error messages.

    Raises:
        AeframeError: Values that fit to no scale.
    """
    if not ranges:
        return 1.0, None
    loudest = max(ranges, key=lambda values: values.peak)
    scale, note = option or 1.0, None
    if option is None:
        fractional = next((values for values in ranges if not values.is_whole), None)
        if fractional is None and expected > 1 and loudest.peak <= expected:
            scale = expected
        elif loudest.is_whole and loudest.peak > _LEAST_INTEGER_PEAK:
            if fractional is not None:
                raise AeframeError(
                    f"audio '{loudest.name}' has whole numbers up to {loudest.peak:.0f}, and audio "
                    f"'{fractional.name}' fractions up to {fractional.peak:.3g}, so that their full scale differs; "
                    "convert all sounds to 16 bits"
                )
            fitting = ((bits, full) for bits, full in _INTEGER_SCALES.items() if loudest.peak <= full)
            bits, scale = next(fitting, (32, _INTEGER_SCALES[32]))
            other = " (modality.scale sets another full scale)" if can_set else ""
            note = (
                f"{_sounds(len(ranges))} hold whole numbers up to {loudest.peak:.0f} ('{loudest.name}'), as integers "
                f"of {bits} bits; they are divided by {scale:.0f}{other}"
            )
    num_beyond = sum(values.num_beyond for values in ranges) if loudest.peak > scale else 0
    if not num_beyond:
        return scale, note
    fraction = max(values.num_beyond / values.num_samples for values in ranges)
    if loudest.peak > _MOST_OVERSHOOT * scale or fraction > _MOST_BEYOND:
        likely = next((full for full in _INTEGER_SCALES.values() if loudest.peak <= full), None)
        if likely is None or loudest.peak <= _LEAST_INTEGER_PEAK:
            what, number = "their full scale", _rounded_up(loudest.peak)
        else:
            what, number = "the full scale of such integers", f"{likely:.0f}"
        step = f"set modality.scale={number}" if can_set else f"divide them by {number} and save them again"
        raise AeframeError(
            f"audio '{loudest.name}' has floating-point samples up to {loudest.peak:.6g}, expected {-scale:g} to "
            f"{scale:g}; {step} if this is {what}"
        )
    option_hint = f"; modality.scale={_rounded_up(loudest.peak)} keeps them" if can_set else ""
    total = sum(values.num_samples for values in ranges)
    return scale, (
        f"{num_beyond} of the {total} samples of {_sounds(len(ranges))} lie beyond {-scale:g} and {scale:g}, up to "
        f"{loudest.peak:.3f} ('{loudest.name}'), and are clipped{option_hint}"
    )


class Overshoot:
    """Counts the samples that decoding of compressed sounds or resampling puts beyond -1 and 1."""

    def __init__(self) -> None:
        self.num_samples = self.num_beyond = 0
        self.peak, self.name = 1.0, ""

    def add(self, name: str, num_samples: int, num_beyond: int, peak: float) -> None:
        """Count the samples of a sound."""
        self.num_samples += num_samples
        self.num_beyond += num_beyond
        if peak > self.peak:
            self.peak, self.name = peak, name

    def note(self) -> str | None:
        """Return a sentence with the numbers; None if nothing was clipped."""
        if not self.num_beyond:
            return None
        return (
            f"decoding or resampling puts {self.num_beyond} of {self.num_samples} samples beyond -1 and 1, up to "
            f"{self.peak:.3f} ('{self.name}'); they are clipped"
        )


def _sounds(number: int) -> str:
    return "1 floating-point sound" if number == 1 else f"{number} floating-point sounds"


def _rounded_up(peak: float) -> str:
    """Return a number of two decimals that is not below `peak`."""
    return f"{np.ceil(peak * 100) / 100:g}"
