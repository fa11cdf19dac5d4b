"""``aeframe plugins [trust PATH | untrust PATH]`` lists plugins, and trusts plugin files.

A plugin registers names of parts by kind: ``loss`` is a kind, ``mse`` one of its names.
"""

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
    f"Load the {FILE_NAME} of a folder whenever aeframe runs in that folder, until the content of the file changes. "
    "Read the file first, and all modules that it imports from its folder, whose changes are not detected."
)
_UNTRUST = f"Stop loading the {FILE_NAME} of a folder"


class Plugins(Command):
    """List all plugins with their state, and the names that each registers, by kind.

    The registered classes are not imported, so broken ones are listed too.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--kind", metavar="KIND", help=f"list only names of one kind: {', '.join(KINDS)}")
        parser.add_argument("--json", action="store_true", help="print JSON")
        verbs = parser.add_subparsers(dest="verb", metavar="{trust,untrust}")
        for name, text in {"trust": _TRUST, "untrust": _UNTRUST}.items():
            verb = verbs.add_parser(name, help=text.split(". ")[0], description=text)
            verb.add_argument("path", metavar="PATH", type=Path, help=f"the folder, or the {FILE_NAME} in it")

    def run(self, args: Namespace) -> int:
        if args.verb == "trust":
            path, digest = trust(args.path)
            print(f"'{path}' is trusted until its content changes (SHA-256 {digest})")
        elif args.verb == "untrust":
            print(f"'{untrust(args.path)}' is no longer trusted")
        else:
            return _list(args)
        # The list of trusted files has changed: the next use of the registry loads the plugins again.
        reset()
        return 0


def _list(args: Namespace) -> int:
    if args.kind is not None:
        # Called for its error only: an unknown kind raises an AeframeError that suggests the closest spelling.
        registry().names(args.kind)
    plugins = registry().plugins
    if args.json:
        print(json.dumps([_as_json(plugin, args.kind) for plugin in plugins], indent=2))
    else:
        print("\n".join(line for plugin in plugins for line in _lines(plugin, args.kind)))
    return 0


def _as_json(plugin: Plugin, only: str | None) -> dict[str, Any]:
    """Return a plugin as plain values for JSON, with all names, or only those of one kind."""
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": plugin.state,
        "reason": plugin.reason,
        "adds": {
            kind: [
                {"name": entry.name, "target": entry.target, "summary": entry.summary}
                for entry in plugin.entries
                if entry.kind == kind
            ]
            for kind in _kinds(plugin, only)
        },
    }


def _lines(plugin: Plugin, only: str | None) -> Iterator[str]:
    """Yield the lines on a plugin: names without summaries, or only those of one kind with their summaries."""
    reason = f": {plugin.reason}" if plugin.reason else ""
    yield f"{plugin.name} ({plugin.distribution} {plugin.version}) {plugin.state}{reason}"
    for kind in _kinds(plugin, only):
        entries = [entry for entry in plugin.entries if entry.kind == kind]
        if only is None:
            yield from textwrap.wrap(
                ", ".join(entry.name for entry in entries),
                width=max(40, shutil.get_terminal_size((100, 24)).columns),
                initial_indent=f"  {kind:<11} ",
                subsequent_indent=" " * 14,
            )
        else:
            width = max(len(entry.name) for entry in entries)
            yield from (f"  {entry.name:<{width}}  {entry.summary}".rstrip() for entry in entries)


def _kinds(plugin: Plugin, only: str | None) -> list[str]:
    """Return the kinds of the names that `plugin` registers, in the order of `KINDS`; at most `only`, unless None."""
    registered = {entry.kind for entry in plugin.entries}
    return [kind for kind in KINDS if kind in registered and only in (None, kind)]
