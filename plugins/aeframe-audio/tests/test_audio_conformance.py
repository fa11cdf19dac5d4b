"""The conformance suite that every plugin must pass."""

from typing import ClassVar

import torch

from aeframe.testing import PluginSuite

torch.set_num_threads(1)


class TestAudio(PluginSuite):
    plugin = "audio"
    options: ClassVar = {"modality=audio": {"seconds": 0.05}}
    datasets: ClassVar = {"audio": {"name": "vowels_simulated", "sounds": 60, "rate": 4000, "seconds": (0.06, 0.1)}}
