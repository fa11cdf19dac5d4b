"""``aeframe check-plugin NAME`` tests every part (such as a loss) that a plugin registers."""

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
    """Test every part that a plugin registers, and print the outcome of each check.

    The exit code is 1 if a check fails. The same checks run under pytest: see aeframe.testing.PluginSuite.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("plugin", metavar="NAME", help="name of the plugin, as listed by 'aeframe plugins'")
        parser.add_argument(
            "--suite",
            metavar="FILE",
            type=Path,
            help="the plugin's test file with a PluginSuite, whose settings are used",
        )
        parser.add_argument("--failed", action="store_true", help="print only failed checks")

    def run(self, args: Namespace) -> int:
        import torch
        from rich.console import Console

        from aeframe.testing.report import lines, summary

        # The models are so small that several threads would be slower than one.
        torch.set_num_threads(1)
        console = Console()
        with console.status(f"testing the parts of plugin '{args.plugin}'"):
            outcomes = _suite(args.suite, args.plugin).runner().outcomes()
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        if failed or not args.failed:
            for line in lines(failed if args.failed else outcomes):
                # Without wrapping, so that a line in a pipe or a file is complete.
                console.print(line, soft_wrap=True)
        print(f"\nplugin '{args.plugin}': {summary(outcomes)}")
        return 1 if failed else 0


def _suite(file: Path | None, plugin: str) -> type[PluginSuite]:
    """Return the `PluginSuite` that the plugin's test file defines; without a file, one with default settings."""
    from aeframe.testing.suite import PluginSuite

    if file is None:
        return type("Suite", (PluginSuite,), {"plugin": plugin})
    spec = importlib.util.spec_from_file_location("aeframe_plugin_suite", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise AeframeError(f"--suite expects a Python file, found '{file}'; give the path of the plugin's test file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, PluginSuite) and getattr(value, "plugin", None) == plugin:
            return value
    raise AeframeError(f"'{file}' has no PluginSuite with plugin = '{plugin}'; write one, or omit --suite")
