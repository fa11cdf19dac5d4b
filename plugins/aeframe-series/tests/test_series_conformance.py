"""The conformance suite that every plugin must pass."""

import numpy as np
import torch

from aeframe.testing import PluginSuite

torch.set_num_threads(1)


class TestSeries(PluginSuite):
    plugin = "series"
    options = {"modality=series": {"window": 16}}  # noqa: RUF012
    datasets = {"series": {"name": "series_simulated", "rows": 400}}  # noqa: RUF012
    samples = {"series": lambda: [np.random.default_rng(0).normal(size=(160, 3)) for _ in range(2)]}  # noqa: RUF012
