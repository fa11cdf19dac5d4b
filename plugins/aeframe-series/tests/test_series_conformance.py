"""The conformance suite that every plugin must pass."""

import torch

from aeframe.testing import PluginSuite

torch.set_num_threads(1)


class TestSeries(PluginSuite):
    plugin = "series"
    options = {"modality=series": {"window": 16}}  # noqa: RUF012
    datasets = {"series": {"name": "series_simulated", "rows": 400}}  # noqa: RUF012
