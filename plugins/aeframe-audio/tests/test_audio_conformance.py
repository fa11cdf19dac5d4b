"""The conformance suite that every plugin must pass."""

from typing import ClassVar

import torch
from audio_files import RATE, sine

from aeframe.testing import PluginSuite

torch.set_num_threads(1)


def sounds_with_rates() -> list[object]:
    """Return sounds as pairs, since the dataset of sounds in memory has no default rate."""
    return [(sine(300 + 60 * number, hertz=200.0 + 10 * number)[:, 0], RATE) for number in range(20)]


class TestAudio(PluginSuite):
    plugin = "audio"
    not_applicable: ClassVar = {
        "metric of padding:metric=bitrate": "codecs emit codes for padding too, and the last one may be half padding"
    }
    options: ClassVar = {"modality=audio": {"seconds": 0.05}}
    datasets: ClassVar = {"audio": {"name": "vowels_simulated", "sounds": 60, "rate": 4000, "seconds": (0.06, 0.1)}}
    samples: ClassVar = {"audio": sounds_with_rates}
