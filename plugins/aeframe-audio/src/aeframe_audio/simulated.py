"""Simulated sung vowels from a source-filter model, and the dataset `vowels_simulated`."""

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
"""Formants in hertz of the vowels in father, bet, beet, bought and boot, for men (Peterson & Barney 1952, J. Acoust.
Soc. Am. 24).
"""
_HALF_WIDTHS = (90.0, 110.0, 170.0)
"""Half the width of each formant at half of its maximum, in hertz."""
_FORMANT_WEIGHTS = (1.0, 0.5, 0.25)


def simulate_vowel(rng: np.random.Generator, *, vowel: int, seconds: float, rate: int) -> NDArray[np.float32]:
    """Return one sung vowel ``(n,)``.

    The fundamental glides linearly between two frequencies, uniform in 90-250 Hz. Harmonic k has a random phase and
    amplitude 1/k times the sum of Lorentzian resonances at the three formants of the vowel, with weights 1, 1/2 and
    1/4. The formants of each sound are scaled by up to 5 %. The envelope is a linear attack of 20 ms and an
    exponential decay. White noise is added at -40 dB, and the peak amplitude is uniform in 0.3-0.9.
    """
    n = round(seconds * rate)
    time = np.arange(n) / rate
    start, end = rng.uniform(90.0, 250.0, 2)
    fundamental = start + (end - start) * time / seconds
    phase = np.cumsum(fundamental) / rate
    formants = np.array(_FORMANTS[vowel]) * rng.uniform(0.95, 1.05)
    sound = np.zeros(n)
    for k in range(1, int(rate / 2 / min(start, end)) + 1):
        frequency = k * fundamental
        detuning = (frequency[:, None] - formants) / np.array(_HALF_WIDTHS)
        amplitude = (np.array(_FORMANT_WEIGHTS) / (1 + detuning**2)).sum(1) / k
        # Harmonics above the Nyquist frequency would alias.
        sound += np.where(frequency < rate / 2, amplitude, 0.0) * np.sin(2 * np.pi * (k * phase + rng.random()))
    sound *= np.minimum(1.0, time / 0.02) * np.exp(-2.0 * time / seconds)
    # 0.01 of the root mean square is -40 dB.
    sound += 0.01 * np.sqrt(np.mean(sound**2)) * rng.normal(size=n)
    return (rng.uniform(0.3, 0.9) * sound / np.abs(sound).max()).astype(np.float32)


class VowelsSimulated(Dataset):
    """Simulated sung vowels (`aeframe_audio.simulated.simulate_vowel`), mono; nothing is downloaded.

    ``extras["label"]`` is the number of the vowel; sounds have the vowels 0, 1, 2, 3, 4, 0, 1 and so on.

    Args:
        sounds: Number of sounds.
        rate: Samples per second.
        seconds: The shortest and the longest duration; durations are uniform between them.
        seed: Seed of the simulation and of the splits, 80 / 10 / 10 %.
    """

    modality = "audio"

    def __init__(
        self, *, sounds: int = 200, rate: int = 8000, seconds: tuple[float, float] = (0.2, 0.6), seed: int = 0
    ) -> None:
        if sounds < 5 or rate < 1000 or not 0.01 <= seconds[0] <= seconds[1]:
            raise AeframeError(
                "dataset 'vowels_simulated' requires at least 5 sounds, a rate of at least 1000 and two increasing "
                f"durations in seconds of at least 0.01, found {sounds}, {rate} and {list(seconds)}"
            )
        self.sounds, self.rate, self.seconds, self.seed = sounds, rate, seconds, seed

    def describe(self) -> Mapping[str, Any]:
        return {"rate": self.rate, "channels": 1}

    def load(self) -> RawSplits:
        rng = np.random.default_rng(self.seed)
        labels = torch.arange(self.sounds) % len(_FORMANTS)
        waves = [
            torch.from_numpy(simulate_vowel(rng, vowel=vowel, seconds=rng.uniform(*self.seconds), rate=self.rate))[None]
            for vowel in labels.tolist()
        ]
        splitter = RandomSplit("dataset 'vowels_simulated'", "sounds", validation=0.1, test=0.1, seed=self.seed)
        # `split_record`, inherited from `Dataset`, stores the drawn split, so that later runs use the same.
        return splitter.complete({"train": Waves(waves, self.rate, labels)}, self.split_record)
