"""``aeframe diff RUN RUN`` prints what differs between two runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli import Command


class Diff(Command):
    """Print the settings in which two runs differ, and their metrics side by side.

    The exit code is 0 if nothing differs, 1 if something does, and 2 after an error, as that of diff.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("runs", metavar="RUN", type=Path, nargs=2, help="the folders of two runs")
        parser.add_argument("--all", action="store_true", help="also print the metrics that are equal")

    def run(self, args: Namespace) -> int:
        from aeframe.errors import printable
        from aeframe.runs.difference import difference

        found = difference(*args.runs)
        if not found:
            num = f"{len(found.metrics)} metrics" if found.metrics else "no metrics yet"
            print(f"{args.runs[0]} and {args.runs[1]} are equal: all settings but the folder, and {num}")
            return 0
        metrics = {key: values for key, values in found.metrics.items() if args.all or values[0] != values[1]}
        rows = [(key, *values) for key, values in {**found.settings, **metrics}.items()]
        header = ("", *(str(path) for path in args.runs))
        widths = [max(len(printable(row[column])) for row in [header, *rows]) for column in (0, 1)]
        for row in [header, *rows]:
            name, first, second = map(printable, row)
            print(f"{name:<{widths[0]}}  {first:<{widths[1]}}  {second}")
        print(f"{len(found.settings)} settings and {found.num_metrics} of {len(found.metrics)} metrics differ")
        return 1
