"""Registered names and options; listing them imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

from aeframe.factory import defaults

NAMES = {
    "modality": ["series"],
    "dataset": ["ett", "series_file", "series_in_memory", "series_simulated"],
    "encoder": ["shortcut_conv"],
    "decoder": ["shortcut_conv"],
    "metric": ["anomaly_ranking", "neighbour_ranking"],
    "config": ["series"],
}


def test_listing_names_imports_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "from aeframe.registry import registry\n"
        "names = {}\n"
        "for entry in registry().entries():\n"
        "    if entry.distribution == 'aeframe-series':\n"
        "        names.setdefault(entry.kind, []).append(entry.name)\n"
        "        assert entry.summary\n"
        "heavy = [m for m in ('torch', 'numpy', 'matplotlib', 'aeframe_series.modality') if m in sys.modules]\n"
        "print(json.dumps([names, heavy]))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = json.loads(process.stdout)
    assert {kind: sorted(registered) for kind, registered in names.items()} == NAMES
    assert heavy == []


def test_options_and_their_defaults() -> None:
    assert defaults("modality", "series") == {
        "name": "series", "window": 64, "stride": 1, "scale": "standard", "missing": "refuse", "on_error": "raise",
        "cut_gaps": False,
    }  # fmt: skip
    assert defaults("dataset", "series_file") == {
        "name": "series_file", "path": "???", "columns": None, "series": None, "time": None, "time_format": None,
        "day_first": None, "sort": None, "anomaly": None, "key": None, "exclude": [], "header": None, "delimiter": None,
        "decimal": None, "encoding": None, "missing": [], "split_by": None,
        "validation": 0.2, "test": 0.2, "split_seed": 0, "bounds": None, "context": 0,
    }  # fmt: skip
    assert defaults("dataset", "ett") == {"name": "ett", "path": None, "station": "ETTh1", "context": 0}
