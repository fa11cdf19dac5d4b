"""The conformance suite for plugins."""

import torch

from aeframe.testing import PluginSuite

torch.set_num_threads(1)


class TestOmics(PluginSuite):
    plugin = "omics"
