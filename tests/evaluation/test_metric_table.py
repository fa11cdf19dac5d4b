"""Tables of metrics: as CSV and JSON, in a run folder, and in the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from aeframe.data import SampleComparison
from aeframe.errors import AeframeError
from aeframe.evaluation.metric_table import MetricTable
from aeframe.runs.folder import RunFolder

TABLE = MetricTable({"channel": ["left, front", "b"], "cells": [3, 4], "error": [1 / 3, float("nan")]}, "two channels")


def test_a_table_is_written_as_csv_and_json() -> None:
    assert len(TABLE) == 2
    assert TABLE.to_csv() == 'channel,cells,error\n"left, front",3,0.333333\nb,4,\n'
    assert TABLE.as_dict() == {"channel": ["left, front", "b"], "cells": [3, 4], "error": [1 / 3, None]}
    read = MetricTable.from_csv(TABLE.to_csv())
    assert list(read.rows()) == [("left, front", "3", "0.333333"), ("b", "4", "")]
    assert len(MetricTable.from_csv("")) == 0


def test_a_run_folder_has_tables_and_the_comparison_of_samples(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_tables() == {}
    assert folder.read_comparison() is None
    folder.write_tables({"channels": TABLE})
    assert folder.read_tables() == {"channels": MetricTable.from_csv(TABLE.to_csv())}
    comparison = SampleComparison({"shape": 0.5}, {"shape": 0.75}, ["of 10 rows"])
    folder.write_comparison(comparison)
    assert folder.read_comparison() == comparison
    folder.comparison.write_text('{"samples": 3}', encoding="utf-8")
    with pytest.raises(AeframeError, match="has no values of samples by name"):
        folder.read_comparison()
    (folder.tables / "channels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AeframeError, match="is no CSV in UTF-8"):
        folder.read_tables()
