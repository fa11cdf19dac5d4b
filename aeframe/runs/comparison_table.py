"""The table of compared runs in a terminal and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aeframe.runs.comparison import ComparedRun

SHOWN = ("bound", "reconstruction", "kl", "mse", "mse_of_pca", "r2")
"""Metrics that are shown unless others are chosen."""


def metrics_of_runs(runs: Sequence[ComparedRun]) -> list[str]:
    """Return the names of all metrics, in the order of the runs."""
    return list(dict.fromkeys(name for run in runs for name in run.metrics))


def print_table(
    runs: Sequence[ComparedRun],
    keys: Sequence[str],
    metrics: Sequence[str],
    best: ComparedRun | None = None,
    *,
    title: str | None = None,
    names: tuple[str, Sequence[str]] | None = None,
) -> None:
    """Print a row for each run: the settings `keys`, the `metrics`, and how many runs were averaged.

    Args:
        runs: The rows.
        keys: Settings.
        metrics: Metrics.
        best: The run whose row is marked.
        title: The title of the table.
        names: The heading and the cells of the first column; by default the names of the runs.
    """
    counted = any(len(run.names) > 1 for run in runs)
    heading, firsts = names if names is not None else ("run", [run.short_name for run in runs])
    table = Table(escape(heading), title=title, title_justify="left")
    for key in keys:
        table.add_column(escape(key), overflow="fold")
    if counted:
        table.add_column("runs", justify="right", overflow="fold")
    for metric in metrics:
        table.add_column(escape(metric), justify="right", overflow="fold")
    for run, first in zip(runs, firsts, strict=True):
        cells = [f"★ {first}" if run is best else first, *(run.settings.get(key, "") for key in keys)]
        cells += [str(len(run.names))] if counted else []
        cells += [run.number(metric) for metric in metrics]
        table.add_row(*(escape(cell) for cell in cells), style="bold" if run is best else None)
    console = Console()
    if not console.is_terminal:
        # A file or pipe has no width: rows are as long as they have to be.
        console.width = max(console.width, console.measure(table, options=console.options.update(width=10_000)).maximum)
    console.print(table)


def as_csv(runs: Sequence[ComparedRun], keys: Sequence[str], metrics: Sequence[str]) -> str:
    """Return the runs as CSV, one in each row, with settings, number of runs, metrics and their deviations."""
    with_spread = [name for name in metrics if any(name in run.spreads for run in runs)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    counted = ["runs"] if any(len(run.names) > 1 for run in runs) else []
    writer.writerow(["run", *keys, *counted, *metrics, *(f"{name} (deviation)" for name in with_spread)])
    for run in runs:
        row: list[object] = [" ".join(run.names), *(run.settings.get(key, "") for key in keys)]
        row += [len(run.names)] if counted else []
        row += [run.metrics.get(name, "") for name in metrics]
        writer.writerow([*row, *(run.spreads.get(name, "") for name in with_spread)])
    return text.getvalue()
