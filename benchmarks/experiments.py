"""Collect the numbers of an experiment: ``python benchmarks/experiments.py NAME RUN_FOLDER...``.

Writes ``results/NAME.json``, a row for each run, from what the run itself wrote: the words it was started with (without
paths of this machine), its seed and its test metrics. What the experiment is expected to reach stands at the head of
``configs/experiment/NAME.yaml``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from aeframe.runs.folder import RunFolder

RESULTS = Path(__file__).with_name("results")
# Where files lie, and what a run shows of itself, changes no number.
_ASIDE = ("data.path", "data.test_path", "data.validation_path", "root", "folder", "progress", "pictures", "hydra")


def main(argv: list[str] | None = None) -> int:
    """Write the file of one experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the experiment")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of its runs, or folders of them")
    args = parser.parse_args(argv)
    folders = [each.parent for path in args.runs for each in sorted(path.rglob("metrics.json"))]
    rows = [_row(RunFolder.open(folder), args.name) for folder in folders]
    if not rows:
        parser.error(f"no run of these has ended: {', '.join(map(str, args.runs))}")
    path = RESULTS / f"{args.name}.json"
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {len(rows)} runs")
    return 0


def _row(run: RunFolder, name: str) -> dict[str, Any]:
    words = run.read_overrides()
    if f"experiment={name}" not in words:
        raise SystemExit(f"'{run.path}' is no run of experiment={name}; it was started with: {' '.join(words)}")
    config = run.read_config()
    return {
        "words": [word for word in words if word.partition("=")[0] not in _ASIDE],
        "seed": config["seed"],
        "max_epochs": config["max_epochs"],
        "test": run.read_metrics()["test"],
    }


if __name__ == "__main__":
    sys.exit(main())
