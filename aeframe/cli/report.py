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

    def run(self, args: Namespace) -> int:
        from aeframe.runs.folder import RunFolder

        folder = RunFolder.open(args.run_folder)
        output = args.output or folder.path / "report.html"
        if output.suffix.lower() not in (".html", ".htm"):
            raise AeframeError(f"--output writes an HTML page, found '{output}'; choose a name ending in .html")
        check_output(output)

        from aeframe.experiment.changed_settings import changed_settings
        from aeframe.runs.report import make_page, read_contents
        from aeframe.runs.report.contents import check_finished

        check_finished(folder)
        overrides = folder.read_overrides() if folder.overrides.is_file() else []
        page = make_page(read_contents(folder.path, changed_settings(folder.read_config(), overrides)))
        with output.open("x", encoding="utf-8", newline="\n") as file:
            file.write(page)
        print(output)
        return 0
