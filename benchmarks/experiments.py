"""Collect the test metrics of an experiment: ``python benchmarks/experiments.py NAME RUN_FOLDER...``.

Writes ``results/NAME.json`` with one entry for each run: its overrides (without paths of this machine), seed, epochs,
seconds, threads and test metrics. The head of the file of each experiment (``conf/experiment/NAME.yaml`` of a plugin)
lists the expected results.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from aeframe.runs.folder import RunFolder
from aeframe.runs.records import Records

RESULTS = Path(__file__).with_name("results")
# Overrides that do not change the metrics.
_IGNORED = (
    *("data.path", "data.test_path", "data.validation_path", "root", "folder"),
    *("progress", "pictures", "profile", "hydra"),
)
_CURVE = (1, 2, 5, 10, 20, 40, 80, 160, 320)
"""Epochs whose validation bound is listed."""


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
        **_progress(run),
        "threads": config["trainer"]["threads"],
        "test": run.read_metrics()["test"],
    }


def _progress(run: RunFolder) -> dict[str, Any]:
    """Return the epochs of a run, the bound of some of them on the validation split, and its seconds by phase.

    The seconds are those of the last start of the run, and are there for runs with ``profile=true``.
    """
    rows = [row for row in Records(run.metrics).read() if row.split == "val" and row.name == "bound"]
    bounds = {row.epoch + 1: round(row.value, 4) for row in rows}
    last = max(bounds, default=0)
    shown = {epoch for epoch in bounds if epoch in _CURVE or epoch == last}
    seconds = json.loads(run.time.read_text(encoding="utf-8")) if run.time.is_file() else {}
    return {
        "epochs": last,
        "validation_bound": {epoch: bounds[epoch] for epoch in sorted(shown)},
        "seconds": {name: round(value) for name, value in seconds.items() if value >= 1},
    }


if __name__ == "__main__":
    sys.exit(main())
