"""``aeframe check-plugin NAME``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aeframe.cli import Command


class CheckPlugin(Command):
    """Try everything that a plugin registers, and say of each check whether it is passed. The exit code is 1 if one is
    not. The same checks run under pytest: see `aeframe.testing.PluginSuite`.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("plugin", metavar="NAME", help="the plugin, as 'aeframe plugins' lists it")
        parser.add_argument("--failed", action="store_true", help="show only what failed")

    def run(self, args: Namespace) -> int:
        import torch
        from rich.console import Console

        from aeframe.testing.examination import Examination
        from aeframe.testing.report import summary, table

        # The models are tiny: more threads would only wait for one another.
        torch.set_num_threads(1)
        console = Console()
        with console.status(f"trying everything that plugin '{args.plugin}' registers"):
            outcomes = Examination(args.plugin).outcomes()
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        if failed or not args.failed:
            console.print(table(failed if args.failed else outcomes))
        console.print(f"\nplugin '{args.plugin}': {summary(outcomes)}")
        return 1 if failed else 0
