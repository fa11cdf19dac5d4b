"""The conformance suite that every plugin must pass."""

import torch

from aeframe.testing import PluginSuite

torch.set_num_threads(1)


class TestVideo(PluginSuite):
    plugin = "video"
    formats = {"video": ["samples", "samples.npz", "samples.mp4", "samples.gif"]}  # noqa: RUF012
