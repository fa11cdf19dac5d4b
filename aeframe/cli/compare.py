"""``aeframe compare RUN_OR_FOLDER ...`` prints a table of finished runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from aeframe.cli import Command
from aeframe.cli.model_command import check_output
from aeframe.errors import AeframeError, did_you_mean


class Compare(Command):
    """Compare finished runs: print the settings in which they differ, and their test metrics.

    A folder stands for all runs in it, such as those of a sweep.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders of runs, or folders with runs")
        parser.add_argument("--sort", metavar="METRIC", help="order of the rows, best first (default: by folder)")
        parser.add_argument("--metrics", metavar="A,B", help="metrics to print (default: bound, reconstruction, ...)")
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            "--average", action="store_true", help="average runs that differ in their seed only: mean ± deviation"
        )
        group.add_argument(
            "--by", metavar="A,B", help="average runs that agree in these settings: --by model, --by latent.dim"
        )
        parser.add_argument(
            "-o", "--output", metavar="FILE", type=Path, help="also write all metrics to a new .csv, or a page .html"
        )

    def run(self, args: Namespace) -> int:
        from aeframe.runs.comparison import (
            averaged,
            best_run,
            common_monitor,
            differing,
            find_runs,
            higher_is_better,
            read_runs,
            sorted_by,
        )
        from aeframe.runs.comparison_table import as_csv, metrics_of_runs, print_table

        suffix = None if args.output is None else args.output.suffix.lower()
        if suffix is not None:
            if suffix not in (".csv", ".html", ".htm"):
                raise AeframeError(
                    f"--output writes CSV or HTML, found '{args.output}'; choose a name ending in .csv or .html"
                )
            check_output(args.output)
        runs = read_runs(find_runs(args.runs))
        best_metric = args.sort or common_monitor(runs)
        by = args.by.split(",") if args.by else None
        if args.average or by is not None:
            runs = averaged(runs, by)
        if args.sort is not None:
            runs = sorted_by(runs, args.sort, descending=higher_is_better(args.sort))
        keys = by if by is not None else differing(runs)
        known = metrics_of_runs(runs)
        shown = _shown(args, known)
        best = None
        if best_metric is not None and len(runs) > 1:
            best = best_run(runs, best_metric, descending=higher_is_better(best_metric))
        print_table(runs, keys, shown, best)
        if args.output is None:
            return 0
        if suffix == ".csv":
            text = as_csv(runs, keys, known)
        else:
            from aeframe.runs.report.comparison import Comparison, comparison_page

            num = sum(len(run.names) for run in runs)
            text = comparison_page(
                Comparison(
                    title=f"{num} runs compared" if num > 1 else "One run",
                    about=f"Runs in {', '.join(path.name or str(path) for path in args.runs)}",
                    runs=runs,
                    keys=keys,
                    metrics=shown,
                    further=[name for name in known if name not in shown],
                    best=best,
                    best_by="" if best_metric is None else _described(best_metric),
                )
            )
        with args.output.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
        print(args.output)
        return 0


def _described(metric: str) -> str:
    """Return a test metric and its better direction as text."""
    from aeframe.runs.comparison import higher_is_better

    return f"{metric} of the test split ({'higher' if higher_is_better(metric) else 'lower'} is better)"


def _shown(args: Namespace, known: Sequence[str]) -> list[str]:
    """Return the metrics to print.

    Raises:
        AeframeError: A chosen metric does not exist.
    """
    from aeframe.runs.comparison_table import SHOWN

    if args.metrics is None:
        default = [name for name in SHOWN if name in known]
        return default if args.sort is None or args.sort in default else [args.sort, *default]
    chosen: list[str] = args.metrics.split(",")
    unknown = next((name for name in chosen if name not in known), None)
    if unknown is not None:
        raise AeframeError(f"no run has the metric '{unknown}'{did_you_mean(unknown, known)}; correct --metrics")
    return chosen
