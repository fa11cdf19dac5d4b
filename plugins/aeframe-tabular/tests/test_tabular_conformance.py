"""The conformance suite that every plugin must pass."""

import tempfile
from pathlib import Path

import torch

from aeframe.testing import PluginSuite
from aeframe_tabular.simulated import TableSimulated

torch.set_num_threads(1)

_FOLDER = tempfile.TemporaryDirectory()
_FILE = Path(_FOLDER.name) / "customers.csv"
TableSimulated(rows=200).frame().to_csv(_FILE, index=False)


class TestTabular(PluginSuite):
    plugin = "tabular"
    options = {"dataset=table": {"path": str(_FILE)}}  # noqa: RUF012
    datasets = {"table": {"name": "table_simulated", "rows": 200}}  # noqa: RUF012
    formats = {"table": ["rows.csv", "rows.parquet", "rows.tsv.gz"]}  # noqa: RUF012
