"""``aeframe plugins``: what is installed, in which state, and what each plugin adds."""

from __future__ import annotations

import json
import shutil
import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from aeframe.cli import Command
from aeframe.registry import KINDS, Plugin, registry


class Plugins(Command):
    """List every plugin with its state, and the names it adds by kind. Imports none of the parts."""

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--kind", metavar="KIND", help=f"only names of this kind: {', '.join(KINDS)}")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def run(self, args: Namespace) -> int:
        if args.kind is not None:
            # An unknown kind is refused here, with the nearest one.
            registry().names(args.kind)
        found = registry().plugins
        if args.json:
            print(json.dumps([_plain(plugin, args.kind) for plugin in found], indent=2))
        else:
            print("\n".join(line for plugin in found for line in _lines(plugin, args.kind)))
        return 0


def _plain(plugin: Plugin, kind: str | None) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": plugin.state,
        "reason": plugin.reason,
        "adds": {
            each: [{"name": e.name, "target": e.target, "summary": e.summary} for e in plugin.entries if e.kind == each]
            for each in _kinds(plugin, kind)
        },
    }


def _lines(plugin: Plugin, kind: str | None) -> Iterator[str]:
    reason = f": {plugin.reason}" if plugin.reason else ""
    yield f"{plugin.name} ({plugin.distribution} {plugin.version}) {plugin.state}{reason}"
    for each in _kinds(plugin, kind):
        mine = [entry for entry in plugin.entries if entry.kind == each]
        if kind is None:
            yield from textwrap.wrap(
                ", ".join(entry.name for entry in mine),
                width=max(40, shutil.get_terminal_size((100, 24)).columns),
                initial_indent=f"  {each:<11} ",
                subsequent_indent=" " * 14,
            )
        else:
            width = max(len(entry.name) for entry in mine)
            yield from (f"  {entry.name:<{width}}  {entry.summary}".rstrip() for entry in mine)


def _kinds(plugin: Plugin, kind: str | None) -> list[str]:
    """Return the kinds that `plugin` adds to, in the registry's order; only `kind` where one is asked for."""
    present = {entry.kind for entry in plugin.entries}
    return [each for each in KINDS if each in present and kind in (None, each)]
