"""``aeframe finish RUN`` saves the best model of an interrupted run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli import Command


class Finish(Command):
    """Save the model of the best checkpoint of an interrupted run, with test metrics and pictures.

    The run can still be resumed afterwards.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder of the run")

    def run(self, args: Namespace) -> int:
        from aeframe.experiment.workflow import finish

        print(finish(args.run_folder).folder)
        return 0
