"""Registered names and options; listing them imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

from aeframe.factory import defaults

NAMES = {
    "modality": ["table"],
    "dataset": ["table", "table_in_memory", "table_simulated"],
    "metric": ["cells", "columns"],
    "config": ["tabular"],
    "command": ["table"],
}


def test_listing_names_imports_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "from aeframe.registry import registry\n"
        "names = {}\n"
        "for entry in registry().entries():\n"
        "    if entry.distribution == 'aeframe-tabular':\n"
        "        names.setdefault(entry.kind, []).append(entry.name)\n"
        "        assert entry.summary\n"
        "heavy = [m for m in ('torch', 'numpy', 'pandas', 'sklearn', 'aeframe_tabular.modality') if m in sys.modules]\n"
        "print(json.dumps([names, heavy]))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = json.loads(process.stdout)
    assert {kind: sorted(registered) for kind, registered in names.items()} == NAMES
    assert heavy == []


def test_options_and_their_defaults() -> None:
    assert defaults("modality", "table") == {
        "name": "table", "numbers": "mixture", "coding": {}, "modes": 10, "quantiles": 1000, "max_classes": 1000,
        "date_parts": False, "unknown": "raise", "on_error": "raise",
    }  # fmt: skip
    assert defaults("dataset", "table") == {
        "name": "table", "path": "???", "test_path": None, "kinds": {}, "date_formats": {}, "day_first": None,
        "columns": None, "exclude": [], "id": None, "label": None, "condition": [], "delimiter": None, "decimal": None,
        "encoding": None, "header": None, "missing": [], "sheet": None, "query": None, "table": None,
        "on_error": "raise", "unknown": "raise", "validation": 0.1, "test": 0.1, "split_seed": 0,
    }  # fmt: skip
    assert defaults("dataset", "table_simulated") == {
        "name": "table_simulated", "rows": 1000, "seed": 0, "validation": 0.1, "test": 0.1, "split_seed": 0,
    }  # fmt: skip
