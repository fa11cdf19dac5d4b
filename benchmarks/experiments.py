"""Collect the test metrics of an experiment: ``python benchmarks/experiments.py NAME RUN_FOLDER...``.

Writes ``results/NAME.json`` with one entry for each run: its overrides (without paths of this machine), seed and test
metrics. The head of the file of each experiment (``conf/experiment/NAME.yaml`` of a plugin) lists the expected results.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from aeframe.runs.folder import RunFolder

RESULTS = Path(__file__).with_name("results")
# Overrides that do not change the metrics.
_IGNORED = ("data.path", "data.test_path", "data.validation_path", "root", "folder", "progress", "pictures", "hydra")


def main(argv: list[str] | None = None) -> int:
    """Write the results of one experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="name of the experiment")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or folders that contain them")
    args = parser.parse_args(argv)
    folders = [metrics.parent for path in args.runs for metrics in sorted(path.rglob("metrics.json"))]
    rows = [_row(RunFolder.open(folder), args.name) for folder in folders]
    if not rows:
        parser.error(f"none of these runs is finished: {', '.join(map(str, args.runs))}")
    path = RESULTS / f"{args.name}.json"
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {len(rows)} runs")
    return 0


def _row(run: RunFolder, name: str) -> dict[str, Any]:
    overrides = run.read_overrides()
    if f"experiment={name}" not in overrides:
        raise SystemExit(f"'{run.path}' is not a run of experiment={name}; its overrides are: {' '.join(overrides)}")
    config = run.read_config()
    return {
        "overrides": [override for override in overrides if override.partition("=")[0] not in _IGNORED],
        "seed": config["seed"],
        "max_epochs": config["max_epochs"],
        "test": run.read_metrics()["test"],
    }


if __name__ == "__main__":
    sys.exit(main())
