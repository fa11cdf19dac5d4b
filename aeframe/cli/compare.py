"""``aeframe compare RUN_OR_FOLDER ...`` prints a table of finished runs."""

from __future__ import annotations

import csv
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.cli import Command
from aeframe.cli.model_command import check_output
from aeframe.errors import AeframeError, did_you_mean

if TYPE_CHECKING:
    from aeframe.runs.comparison import ComparedRun

_SHOWN = ("bound", "reconstruction", "kl", "mse", "mse_of_pca", "r2")
"""Metrics that are printed unless others are chosen."""


class Compare(Command):
    """Compare finished runs: print the settings in which they differ, and their test metrics.

    A folder stands for all runs in it, such as those of a sweep.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders of runs, or folders with runs")
        parser.add_argument("--sort", metavar="METRIC", help="order of the rows, best first (default: by folder)")
        parser.add_argument("--metrics", metavar="A,B", help=f"metrics to print (default: {','.join(_SHOWN)})")
        parser.add_argument(
            "--average", action="store_true", help="average runs that differ in their seed only: mean ± deviation"
        )
        parser.add_argument("-o", "--output", metavar="CSV", type=Path, help="also write all metrics to a new CSV file")

    def run(self, args: Namespace) -> int:
        from aeframe.runs.comparison import averaged, differing, find_runs, read_runs, sorted_by

        if args.output is not None:
            if args.output.suffix.lower() != ".csv":
                raise AeframeError(f"--output writes a CSV file, found '{args.output}'; choose a name ending in .csv")
            check_output(args.output)
        runs = read_runs(find_runs(args.runs))
        if args.average:
            runs = averaged(runs)
        if args.sort is not None:
            runs = sorted_by(runs, args.sort, descending=_higher_is_better(args.sort))
        keys = differing(runs)
        known = list(dict.fromkeys(name for run in runs for name in run.metrics))
        _print(runs, keys, _shown(args, known))
        if args.output is not None:
            _write(args.output, runs, keys, known)
            print(args.output)
        return 0


def _shown(args: Namespace, known: Sequence[str]) -> list[str]:
    """Return the metrics to print.

    Raises:
        AeframeError: A chosen metric does not exist.
    """
    if args.metrics is None:
        default = [name for name in _SHOWN if name in known]
        return default if args.sort is None or args.sort in default else [args.sort, *default]
    chosen: list[str] = args.metrics.split(",")
    unknown = next((name for name in chosen if name not in known), None)
    if unknown is not None:
        raise AeframeError(f"no run has the metric '{unknown}'{did_you_mean(unknown, known)}; correct --metrics")
    return chosen


def _higher_is_better(metric: str) -> bool:
    from aeframe.registry import registry

    if not registry().has("metric", metric):
        return False
    return bool(getattr(registry().load("metric", metric), "higher_is_better", False))


def _print(runs: Sequence[ComparedRun], keys: Sequence[str], metrics: Sequence[str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("run")
    for key in keys:
        table.add_column(escape(key))
    for name in metrics:
        table.add_column(escape(name), justify="right")
    for run in runs:
        name = Path(run.names[0]).name + (f" and {len(run.names) - 1} more" if len(run.names) > 1 else "")
        cells = [name, *(run.settings.get(key, "") for key in keys), *(_number(run, metric) for metric in metrics)]
        table.add_row(*(escape(cell) for cell in cells))
    console = Console()
    console.print(table, soft_wrap=not console.is_terminal)


def _number(run: ComparedRun, metric: str) -> str:
    """Return a metric as text: ``0.123``, with its deviation over several runs ``0.123 ± 0.004``, or nothing."""
    if metric not in run.metrics:
        return ""
    spread = f" ± {run.spreads[metric]:.2g}" if metric in run.spreads else ""
    return f"{run.metrics[metric]:.5g}{spread}"


def _write(path: Path, runs: Sequence[ComparedRun], keys: Sequence[str], metrics: Sequence[str]) -> None:
    """Write the runs, one in each row, with the settings that differ, all metrics and their deviations."""
    with_spread = [name for name in metrics if any(name in run.spreads for run in runs)]
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", *keys, *metrics, *(f"{name} (deviation)" for name in with_spread)])
        for run in runs:
            values = [run.metrics.get(name, "") for name in metrics]
            spreads = [run.spreads.get(name, "") for name in with_spread]
            writer.writerow([" ".join(run.names), *(run.settings.get(key, "") for key in keys), *values, *spreads])
