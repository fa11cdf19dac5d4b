"""The conformance suite for plugins."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from aeframe.testing import PluginSuite

torch.set_num_threads(1)


class TestImage(PluginSuite):
    plugin = "image"
    options: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "encoder=vqgan": {"channels": [8, 16], "blocks": 1},
        "decoder=vqgan": {"channels": [16, 8], "blocks": 1},
    }
