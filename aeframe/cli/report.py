"""``aeframe report RUN`` writes the report of a finished run as one HTML page."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli import Command
from aeframe.cli.model_command import check_output
from aeframe.errors import AeframeError


class Report(Command):
    """Write the report of a finished run: one HTML page with settings, curves, metrics, pictures and data.

    The page refers to no other file or host, so that it can be sent and stored as it is.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder of the run")
        parser.add_argument(
            "-o", "--output", metavar="FILE.html", type=Path, help="the new page (default: RUN/report.html)"
        )
        parser.add_argument("--log", action="store_true", help="also send the page to the trackers of the run")

    def run(self, args: Namespace) -> int:
        from aeframe.runs.folder import RunFolder

        folder = RunFolder.open(args.run_folder)
        output = args.output or folder.path / "report.html"
        if output.suffix.lower() not in (".html", ".htm"):
            raise AeframeError(f"--output writes an HTML page, found '{output}'; choose a name ending in .html")
        check_output(output)

        from aeframe.experiment.changed_settings import changed_settings
        from aeframe.runs.report import make_page, read_contents

        contents = read_contents(folder.path, changed_settings)
        page = make_page(contents)
        with output.open("x", encoding="utf-8", newline="\n") as file:
            file.write(page)
        print(output)
        if args.log:
            from aeframe.cli.trackers import trackers_of
            from aeframe.training.loggers import log_page

            with trackers_of(folder.path) as loggers:
                step = max((row.step for row in contents.measurements), default=0)
                sent = log_page(loggers, "report", output, step)
            print(f"sent to {', '.join(sent)}" if sent else "none of the trackers of this run stores pages")
        return 0
