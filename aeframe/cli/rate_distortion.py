"""``aeframe rate-distortion RUN_OR_FOLDER ...`` prints and plots rate and distortion of finished runs."""

from __future__ import annotations

import csv
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.cli import Command
from aeframe.cli.model_command import add_picture, check_output, check_picture
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from aeframe.runs.rate_distortion import RateDistortion


class RateDistortionCurve(Command):
    """Print rate (KL) and distortion (negative log-likelihood of reconstructions) of finished runs on their test split,
    in nats, such as those of a sweep over objective.beta; the Pareto front is marked by a star.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders of runs, or folders with runs")
        parser.add_argument("-o", "--output", metavar="CSV", type=Path, help="also write the points to a new CSV file")
        add_picture(parser, "also plot distortion against rate")

    def run(self, args: Namespace) -> int:
        from aeframe.registry import registry
        from aeframe.runs.comparison import differing, find_runs, read_runs
        from aeframe.runs.rate_distortion import rate_distortion

        if args.output is not None:
            if args.output.suffix.lower() != ".csv":
                raise AeframeError(f"--output writes a CSV file, found '{args.output}'; choose a name ending in .csv")
            check_output(args.output)
        check_picture(args.picture)
        runs = read_runs(find_runs(args.runs))
        units = [registry().load("loss", run.settings["loss"]).unit for run in runs]
        points = rate_distortion(runs, [unit == "nats" for unit in units])
        keys = differing(runs)
        _print(points, keys)
        if args.output is not None:
            _write(args.output, points, keys)
            print(args.output)
        if args.picture is not None:
            _plot(args.picture, points)
            print(args.picture)
        return 0


def _print(points: Sequence[RateDistortion], keys: Sequence[str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("run", *(escape(key) for key in keys))
    for title in ("rate", "distortion", "sum", "front"):
        table.add_column(title, justify="right")
    for point in points:
        numbers = (f"{value:.5g}" for value in (point.rate, point.distortion, point.bound))
        settings = (escape(point.run.settings.get(key, "")) for key in keys)
        table.add_row(escape(Path(point.run.names[0]).name), *settings, *numbers, "*" * point.on_front)
    console = Console()
    console.print(table, soft_wrap=not console.is_terminal)


def _write(path: Path, points: Sequence[RateDistortion], keys: Sequence[str]) -> None:
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", *keys, "rate", "distortion", "sum", "front"])
        for point in points:
            settings = [point.run.settings.get(key, "") for key in keys]
            values = [point.rate, point.distortion, point.bound, int(point.on_front)]
            writer.writerow([point.run.names[0], *settings, *values])


def _plot(path: Path, points: Sequence[RateDistortion]) -> None:
    """Plot distortion against rate: all runs as dots, and a line through the Pareto front."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    ax = figure.subplots()
    ax.plot([point.rate for point in points], [point.distortion for point in points], "o", color="0.6", label="runs")
    front = [point for point in points if point.on_front]
    ax.plot(
        [point.rate for point in front], [point.distortion for point in front], "o-", color="C0", label="Pareto front"
    )
    ax.set_xlabel("rate, nats")
    ax.set_ylabel("distortion, nats")
    ax.legend()
    figure.savefig(path, dpi=150)
