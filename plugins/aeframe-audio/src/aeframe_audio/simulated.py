"""Sung vowels of a stated model: nothing to download, and everything about them is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe_audio.recordings import RawSplits, Waves

_FORMANTS = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))
"""Hertz, of the vowels in father, bet, beet, bought and boot (Peterson & Barney 1952, J. Acoust. Soc. Am. 24, men)."""
_BREADTH = (90.0, 110.0, 170.0)
"""Hertz, half the width of each formant."""


def sing(rng: np.random.Generator, *, vowel: int, seconds: float, rate: int) -> NDArray[np.float32]:
    """Return ``(n,)``: one vowel, sung for `seconds`.

    Harmonics k of a fundamental that glides between two draws from 90-250 Hz, each with amplitude 1/k times the sum of
    Lorentzian resonances at the vowel's three formants (shifted by up to 5 % for each sound, weights 1, 1/2, 1/4), and
    a phase of its own; a rise of 20 ms and an exponential decay; white noise 40 dB below; a peak drawn from 0.3-0.9.
    """
    n = round(seconds * rate)
    time = np.arange(n) / rate
    low, high = rng.uniform(90.0, 250.0, 2)
    fundamental = low + (high - low) * time / seconds
    turns = np.cumsum(fundamental) / rate
    formants = np.array(_FORMANTS[vowel]) * rng.uniform(0.95, 1.05)
    sound = np.zeros(n)
    for k in range(1, int(rate / 2 / min(low, high)) + 1):
        pitch = k * fundamental
        apart = (pitch[:, None] - formants) / np.array(_BREADTH)
        strength = (np.array([1.0, 0.5, 0.25]) / (1 + apart**2)).sum(1) / k
        # What would fold back from above half the rate is left out.
        sound += np.where(pitch < rate / 2, strength, 0.0) * np.sin(2 * np.pi * (k * turns + rng.random()))
    sound *= np.minimum(1.0, time / 0.02) * np.exp(-2.0 * time / seconds)
    sound += 0.01 * np.sqrt(np.mean(sound**2)) * rng.normal(size=n)
    return (rng.uniform(0.3, 0.9) * sound / np.abs(sound).max()).astype(np.float32)


class VowelsSimulated(Dataset):
    """Sung vowels by a source and a filter (`aeframe_audio.simulated.sing`), mono, embedded.

    ``extras["label"]`` is the vowel, one of five, in turn.

    Args:
        sounds: How many.
        rate: Samples per second.
        seconds: The shortest and the longest; lengths are drawn evenly between them.
        seed: Of the draw and of the splits, 80 / 10 / 10.
    """

    modality = "audio"

    def __init__(
        self, *, sounds: int = 200, rate: int = 8000, seconds: tuple[float, float] = (0.2, 0.6), seed: int = 0
    ) -> None:
        if sounds < 5 or rate < 1000 or not 0.01 <= seconds[0] <= seconds[1]:
            raise AeframeError(
                "dataset 'vowels_simulated' needs sounds of at least 5, a rate of at least 1000 and seconds that "
                f"rise from 0.01 or more, found {sounds}, {rate} and {list(seconds)}"
            )
        self.sounds, self.rate, self.seconds, self.seed = sounds, rate, seconds, seed

    def describe(self) -> Mapping[str, Any]:
        return {"rate": self.rate, "channels": 1}

    def load(self) -> RawSplits:
        rng = np.random.default_rng(self.seed)
        labels = torch.arange(self.sounds) % len(_FORMANTS)
        waves = [
            torch.from_numpy(sing(rng, vowel=vowel, seconds=rng.uniform(*self.seconds), rate=self.rate))[None]
            for vowel in labels.tolist()
        ]
        shares = RandomSplit("dataset 'vowels_simulated'", "sounds", validation=0.1, test=0.1, seed=self.seed)
        return shares.complete({"train": Waves(waves, self.rate, labels)}, self.split_record)
