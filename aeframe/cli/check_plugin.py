"""``aeframe check-plugin NAME``."""

from __future__ import annotations

import importlib.util
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.cli import Command
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from aeframe.testing.suite import PluginSuite


class CheckPlugin(Command):
    """Try everything that a plugin registers, and say of each check whether it is passed. The exit code is 1 if one is
    not. The same checks run under pytest: see `aeframe.testing.PluginSuite`.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("plugin", metavar="NAME", help="the plugin, as 'aeframe plugins' lists it")
        parser.add_argument(
            "--suite",
            metavar="FILE",
            type=Path,
            help="the plugin's test file: what its PluginSuite declares and gives counts here too",
        )
        parser.add_argument("--failed", action="store_true", help="show only what failed")

    def run(self, args: Namespace) -> int:
        import torch
        from rich.console import Console

        from aeframe.testing.report import summary, table

        # The models are tiny: more threads would only wait for one another.
        torch.set_num_threads(1)
        console = Console()
        with console.status(f"trying everything that plugin '{args.plugin}' registers"):
            outcomes = _suite(args.suite, args.plugin).runner().outcomes()
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        if failed or not args.failed:
            console.print(table(failed if args.failed else outcomes))
        console.print(f"\nplugin '{args.plugin}': {summary(outcomes)}")
        return 1 if failed else 0


def _suite(file: Path | None, plugin: str) -> type[PluginSuite]:
    """Return the plugin's own suite, out of its test file; without a file, one that declares nothing."""
    from aeframe.testing.suite import PluginSuite

    if file is None:
        return type("Suite", (PluginSuite,), {"plugin": plugin})
    spec = importlib.util.spec_from_file_location("aeframe_checked_suite", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise AeframeError(f"--suite expects a Python file, found '{file}'; give the path of the plugin's test file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, PluginSuite) and getattr(value, "plugin", None) == plugin:
            return value
    raise AeframeError(f"'{file}' has no PluginSuite with plugin = '{plugin}'; write one, or omit --suite")
