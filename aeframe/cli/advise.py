"""``aeframe advise RUN`` prints what is wrong with a run, and what to try."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli import Command


class Advise(Command):
    """Print at most three sentences on what is wrong with a run: what was found, and the override to try.

    The run may be unfinished or may have failed. Only its files are read: config, measurements and diagnosis. To repeat
    it with an override: aeframe-train --config RUN OVERRIDE. The exit code is 0 with and without advice.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder of the run")

    def run(self, args: Namespace) -> int:
        from aeframe.errors import AeframeError, printable
        from aeframe.evaluation.advice import advise, looked_at
        from aeframe.runs.evidence import read_evidence
        from aeframe.runs.folder import RunFolder

        folder = RunFolder.open(args.run_folder)
        evidence = read_evidence(folder)
        findings = advise(evidence)
        for finding in findings:
            print(printable(str(finding)))
        if findings:
            return 0
        seen = looked_at(evidence)
        if not seen:
            raise AeframeError(
                f"run '{folder.path}' has measured nothing that advice could be derived from; train it for an epoch"
            )
        print(f"nothing to advise: looked at {', '.join(seen[:-1])}{' and ' if seen[1:] else ''}{seen[-1]}")
        return 0
