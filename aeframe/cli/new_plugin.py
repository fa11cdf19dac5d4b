"""``aeframe new-plugin NAME`` creates the files of a new plugin: a Python package with tests."""

from __future__ import annotations

import keyword
import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli import Command
from aeframe.errors import AeframeError
from aeframe.registry import registry
from aeframe.scaffold import rendered
from aeframe.version import __version__

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SUMMARIES = {
    "modality": "The modality {name} for aeframe, with a loss and an activation.",
    "parts": "A loss and an activation for aeframe.",
}


class NewPlugin(Command):
    """Create the package of a new plugin, which can be installed and tested as it is.

    It registers a modality, a loss and an activation; with --kind parts, only a loss and an activation.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="snake_case name; the package is called aeframe-NAME")
        parser.add_argument(
            "--kind",
            choices=("modality", "parts"),
            default="modality",
            help="what the plugin adds (default: modality)",
        )
        parser.add_argument("--folder", metavar="DIR", type=Path, help="folder to create (default: ./aeframe-NAME)")

    def run(self, args: Namespace) -> int:
        name: str = args.name
        distribution = f"aeframe-{name.replace('_', '-')}"
        _check_name(name, distribution)
        folder: Path = args.folder or Path(distribution)
        if folder.exists():
            raise AeframeError(f"'{folder}' exists already; choose another folder with --folder")
        placeholders = {
            "name": name,
            "Name": "".join(word.capitalize() for word in name.split("_")),
            "distribution": distribution,
            "summary": _SUMMARIES[args.kind].format(name=name),
            "range": _range(__version__),
        }
        for relative_path, text in rendered(args.kind, placeholders).items():
            path = folder / relative_path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path)
        data = f"data={name}_simulated" if args.kind == "modality" else f"loss={name}_charbonnier"
        print(f"\nnext: pip install -e {folder}; aeframe-train model=ae {data}; python -m pytest {folder}")
        return 0


def _check_name(name: str, distribution: str) -> None:
    if not _NAME.fullmatch(name):
        raise AeframeError(
            f"a plugin is named in snake_case (letters, digits and single _), found '{name}'; choose another"
        )
    if keyword.iskeyword(name):
        raise AeframeError(f"a plugin cannot be named like a keyword of Python, found '{name}'; choose another")
    for plugin in registry().plugins:
        if plugin.name == name or plugin.distribution == distribution:
            raise AeframeError(
                f"plugin '{name}' is already installed, by {plugin.distribution} {plugin.version}; choose another name"
            )
    for kind in ("modality", "dataset"):
        if registry().has(kind, name):
            owner = registry().entry(kind, name).distribution
            raise AeframeError(f"{kind} '{name}' is already registered, by {owner}; choose another name")


def _range(version: str) -> str:
    """Return the range of compatible versions of aeframe: a new minor version may change the hooks."""
    major, minor, *_ = version.split(".")
    return f">={major}.{minor},<{major}.{int(minor) + 1}"
