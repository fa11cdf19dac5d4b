"""The dataset ``audio_in_memory``: sounds that a program has in memory.

Shapes: N sounds, C channels, n samples in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.in_memory import MemoryDataset, SampleSplits
from aeframe.data.samples import as_array, described, is_tensor
from aeframe.errors import AeframeError
from aeframe_audio.recordings import Waves

_MAX_CHANNELS = 2
_LEAST_RATE = 1000
"""From this number on, the second item of a pair is taken for a rate in Hz; smaller numbers may be labels."""
_FULL_SCALE = 32768.0
"""The absolute value of the smallest number of 16 bits, which becomes -1."""


class AudioInMemory(MemoryDataset):
    """Sounds: a list of arrays or tensors ``(n,)`` or ``(C, n)`` of any lengths, or of pairs of an array and its rate.

    With ``modality="audio"`` also an array ``(N, n)`` or ``(N, C, n)``. Arrays ``(n, C)`` of at most two channels, as
    the library soundfile returns them, are transposed. Floating-point values are in [-1, 1]; numbers of 16 bits are
    divided by 32768. Sounds of different rates require ``modality.rate``, mono together with stereo requires
    ``modality.channels``.

    Args:
        samples: The samples by split, injected.
        rate: Sampling rate of the sounds in Hz. null takes the rates of pairs ``(array, rate)``.
        validation: Fraction of the sounds for validation, if no validation split was passed.
        test: Fraction of the sounds for testing, if no test split was passed.
        split_seed: Seed of the random split.

    Raises:
        AeframeError: A sound has no rate, or values that are no sound.
    """

    modality: ClassVar[str] = "audio"
    noun: ClassVar[str] = "sounds"

    def __init__(
        self,
        samples: SampleSplits,
        *,
        rate: int | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        if rate is not None and rate < 1:
            raise AeframeError(f"dataset 'audio_in_memory' requires rate > 0, found {rate}; set data.rate in Hz")
        self.rate = rate
        super().__init__(samples, validation=validation, test=test, split_seed=split_seed)

    @staticmethod
    def accepts(x: Any) -> bool:
        """Return whether x is a list of waves or of pairs of a wave and its rate.

        A list of arrays with many columns is none, nor is an array of any shape.
        """
        return isinstance(x, list) and len(x) > 0 and all(_is_sound(item) for item in x)

    def read(self, x: Any, labels: Tensor | None) -> Waves:
        waves = waves_of("fit", x, self.rate)
        other = next((sound for sound in waves if self.rate not in (None, sound[1])), None)
        if other is not None:
            raise AeframeError(
                f"fit: {other[2]} has the rate {other[1]} Hz, and data.rate is {self.rate}; leave out data.rate"
            )
        waves.labels = labels
        return waves

    def describe_raw(self, train: Waves) -> Mapping[str, Any]:
        return {"rate": train.rate, "channels": len(train.sounds[0])}


def waves_of(who: str, x: Any, rate: int | None, *, next_step: str | None = None) -> Waves:
    """Return sounds in memory as waves in [-1, 1].

    Args:
        who: How error messages name the receiver: ``fit``.
        x: The sounds, as `AudioInMemory` takes them.
        rate: The sampling rate of sounds that are not pairs ``(array, rate)``; None if all must be pairs.
        next_step: What to do without a rate, for error messages; None for the option of `AudioInMemory`.

    Raises:
        AeframeError: A sound has no rate, another shape or type, or values beyond [-1, 1].
    """
    if next_step is None:
        next_step = 'set data={"rate": 16000}, or pass pairs (array, rate); rows of numbers are one array (N, D)'
    items = _items(who, x)
    sounds, rates = [], []
    for number, item in enumerate(items):
        sound = f"{who}: sound {number}"
        values, own_rate = _values_and_rate(sound, item)
        if own_rate is None and rate is None:
            raise AeframeError(f"{sound} has no sampling rate; {next_step}")
        sounds.append(_wave(sound, values))
        rates.append(own_rate or rate or 0)
    return Waves(sounds, rates[0], rates=rates, names=[f"sound {number}" for number in range(len(sounds))])


def _items(who: str, x: Any) -> Sequence[Any]:
    """Return the sounds of a list, of an array with a sound in each row, or of an array of arrays."""
    if isinstance(x, (list, tuple)) and len(x):
        return x
    if (isinstance(x, np.ndarray) or is_tensor(x)) and len(x.shape) > 0 and len(x):
        array = as_array(x)
        if array.ndim in (2, 3) or array.dtype.kind == "O":
            return list(array)
    raise AeframeError(
        f"{who}: modality audio takes a list of arrays (n,) or (C, n), or an array (N, n) or (N, C, n), found "
        f"{described(x)}; pass a list: [array]"
    )


def _values_and_rate(sound: str, item: Any) -> tuple[Any, int | None]:
    """Return the array of a sound, and the rate of a pair."""
    if not _is_pair(item):
        return item, None
    values, rate = item
    # A rate may be a number of NumPy or a tensor.
    hertz = float(rate)
    if hertz < 1 or not hertz.is_integer():
        raise AeframeError(f"{sound} has the rate {rate}, expected a whole number of Hz of at least 1; correct it")
    return values, int(hertz)


def _wave(sound: str, values: Any) -> Tensor:
    """Return the samples of a sound ``(C, n)``, float32 in [-1, 1]; they are copied if they must be converted."""
    is_array = isinstance(values, np.ndarray) or is_tensor(values)
    array = as_array(values)
    if not is_array and array.dtype.kind != "f":
        raise AeframeError(f"{sound} is {described(values)}, expected an array (n,) or (C, n); convert it")
    if array.ndim == 2 and array.shape[1] <= _MAX_CHANNELS < array.shape[0]:
        array = array.T
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[0] > max(_MAX_CHANNELS, array.shape[1])):
        raise AeframeError(
            f"{sound} has shape {np.shape(values)}, expected (n,) or (C, n) of C channels; transpose it, or pass one "
            "array for each sound"
        )
    if array.size == 0:
        raise AeframeError(f"{sound} has no samples (shape {array.shape}); leave it out")
    if array.dtype == np.int16:
        array = array.astype(np.float32) / np.float32(_FULL_SCALE)
    elif array.dtype.kind == "f":
        _check_range(sound, array)
        array = array.astype(np.float32, copy=False)
    else:
        raise AeframeError(
            f"{sound} has values of type {array.dtype}, expected floating-point numbers in [-1, 1] or int16; convert "
            "it: array / full_scale, as float32"
        )
    array = np.ascontiguousarray(array if array.ndim == 2 else array[None])
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _check_range(sound: str, array: NDArray[Any]) -> None:
    """Raise AeframeError for values that are not finite, or beyond [-1, 1]."""
    low, high = float(array.min()), float(array.max())
    # NaN is the minimum of an array that contains it.
    if not np.isfinite(low) or not np.isfinite(high):
        position = int(np.argwhere(~np.isfinite(array))[0, -1])
        raise AeframeError(f"{sound} is NaN or infinite at sample {position}; correct it, or leave it out")
    if low < -1 or high > 1:
        raise AeframeError(
            f"{sound} has values from {low:.6g} to {high:.6g}, expected -1 to 1; divide all sounds by their full "
            "scale (32768 for numbers of 16 bits), or clip them: array.clip(-1, 1)"
        )


def _is_sound(item: Any) -> bool:
    """Return whether an item of a list is a wave ``(n,)`` or ``(C, n)``, or a pair of a wave and its rate."""
    is_pair = _is_pair(item)
    if is_pair and item[1] < _LEAST_RATE:
        return False
    wave = item[0] if is_pair else item
    if isinstance(wave, np.ndarray):
        if wave.dtype.kind != "f" and wave.dtype != np.int16:
            return False
    elif not is_tensor(wave) or not (wave.is_floating_point() or wave.dtype == torch.int16):
        return False
    if wave.ndim == 2:
        # Without a rate, (n, 2) may also be a series of two variables.
        num_channels = min(wave.shape) if is_pair else wave.shape[0]
        return bool(num_channels <= _MAX_CHANNELS < max(wave.shape))
    return bool(wave.ndim == 1)


def _is_pair(item: Any) -> bool:
    """Return whether an item of a list is a wave with its rate, in a tuple or a list."""
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        return False
    wave, rate = item
    is_array = isinstance(wave, np.ndarray) or is_tensor(wave)
    return is_array and wave.ndim > 0 and isinstance(rate, (int, float, np.number)) and not isinstance(rate, bool)
