"""``aeframe bench [NAME]`` prints measured speeds."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli import Command

_FOLDER = Path(__file__).parents[2] / "benchmarks"
_WIDTH = 140
"""The least width of the table, in columns of the terminal."""


class Bench(Command):
    """Print how fast aeframe is beside other programs: ratios that the scripts in ``benchmarks/`` have measured.

    Each ratio is the median of a run in which both sides took turns, with its spread. Below 1, "lower" means less time
    than the other side; "higher" counts how often ours is done in the time of one of the other side. NAME prints
    one figure and the command that measures it again. The results are those of a checkout of the repository.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", nargs="?", help="one figure; all by default")
        parser.add_argument(
            "--folder", type=Path, default=_FOLDER, help="the folder benchmarks/ of a checkout; of this one by default"
        )

    def run(self, args: Namespace) -> int:
        from rich.console import Console
        from rich.table import Table

        from aeframe.cli.speed_figures import read_figures
        from aeframe.errors import AeframeError, did_you_mean

        figures = read_figures(args.folder)
        if args.name is not None and args.name not in figures:
            similar = did_you_mean(args.name, figures)
            raise AeframeError(f"no figure is named '{args.name}'{similar}; choose one of {', '.join(figures)}")
        table = Table("name", "what", "beside", "aim", "measured", "aim reached")
        for name, figure in figures.items():
            if args.name not in (None, name):
                continue
            ratio = figure.measured(args.folder / "results")
            sign = "≤" if figure.better == "lower" else "≥"
            reached = "" if ratio is None else "yes" if figure.reached(ratio) else "no"
            shown = "not measured" if ratio is None else str(ratio)
            table.add_row(name, figure.what, figure.against, f"{sign} {figure.aim:g}", shown, reached)
        Console(width=max(Console().width, _WIDTH)).print(table)
        if args.name is not None:
            print(f"measured again by: {figures[args.name].command}")
            print(f"results: {args.folder / 'results' / figures[args.name].file}")
        return 0
