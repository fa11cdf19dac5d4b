"""``aeframe plugins [trust PATH | untrust PATH]``."""

from __future__ import annotations

import json
import shutil
import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aeframe.cli import Command
from aeframe.kinds import KINDS
from aeframe.registry import Plugin, registry, reset
from aeframe.trust import FILE_NAME, trust, untrust

_TRUST = (
    f"Load the {FILE_NAME} of a folder whenever aeframe works in that folder, until the content of the file changes. "
    "Read the file first, and the modules that it imports from its folder: these are not compared with anything."
)
_UNTRUST = f"Do not load the {FILE_NAME} of a folder any more."


class Plugins(Command):
    """List every plugin with its state, and the names it adds by kind. Imports none of the parts."""

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--kind", metavar="KIND", help=f"only names of this kind: {', '.join(KINDS)}")
        parser.add_argument("--json", action="store_true", help="print JSON")
        verbs = parser.add_subparsers(dest="verb", metavar="{trust,untrust}")
        for name, text in {"trust": _TRUST, "untrust": _UNTRUST}.items():
            verb = verbs.add_parser(name, help=text.split(". ")[0], description=text)
            verb.add_argument("path", metavar="PATH", type=Path, help=f"the folder, or its {FILE_NAME}")

    def run(self, args: Namespace) -> int:
        if args.verb == "trust":
            path, digest = trust(args.path)
            print(f"'{path}' is trusted until its content changes (SHA-256 {digest})")
        elif args.verb == "untrust":
            print(f"'{untrust(args.path)}' is no longer trusted")
        else:
            return _list(args)
        # Later commands of this process look again.
        reset()
        return 0


def _list(args: Namespace) -> int:
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
