"""The conformance suite that every plugin must pass."""

import torch

from aeframe.testing import PluginSuite

torch.set_num_threads(1)


class TestTabular(PluginSuite):
    plugin = "tabular"
    datasets = {"table": {"name": "table_simulated", "rows": 200}}  # noqa: RUF012
    formats = {"table": ["rows.csv", "rows.parquet", "rows.tsv.gz"]}  # noqa: RUF012
