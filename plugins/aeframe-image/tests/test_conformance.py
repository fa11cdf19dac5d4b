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
    not_applicable: ClassVar[Mapping[str, str]] = {
        "loss of padding:loss=ssim": "a window compares neighbours, and images are not padded",
        "loss of padding:loss=ms_ssim": "a window compares neighbours, and images are not padded",
        "metric of padding:metric=ssim": "a window compares neighbours, and images are not padded",
        "metric of padding:metric=psnr": "it is that of whole images, which are not padded",
    }
