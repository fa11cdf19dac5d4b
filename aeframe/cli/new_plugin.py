"""``aeframe new-plugin NAME``."""

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
    "modality": "Spectra-like data for aeframe, with a loss and an activation.",
    "parts": "A loss and an activation for aeframe.",
}


class NewPlugin(Command):
    """Write a package that adds a modality, a loss and an activation, or parts alone: it trains and tests at once."""

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="in snake_case; the package is then aeframe-NAME")
        parser.add_argument(
            "--kind", choices=("modality", "parts"), default="modality", help="what it adds (default: modality)"
        )
        parser.add_argument("--folder", metavar="DIR", type=Path, help="a new folder (default: aeframe-NAME, here)")

    def run(self, args: Namespace) -> int:
        name: str = args.name
        distribution = f"aeframe-{name.replace('_', '-')}"
        _refuse_name(name, distribution)
        folder: Path = args.folder or Path(distribution)
        if folder.exists():
            raise AeframeError(f"'{folder}' exists, and nothing is written over it; choose another with --folder")
        words = {
            "name": name,
            "Name": "".join(word.capitalize() for word in name.split("_")),
            "distribution": distribution,
            "summary": _SUMMARIES[args.kind],
            "range": _range(__version__),
        }
        for place, text in rendered(args.kind, words).items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path)
        data = f"data={name}_simulated" if args.kind == "modality" else f"loss={name}_charbonnier"
        print(f"\nnext: pip install -e {folder}; aeframe-train model=ae {data}; python -m pytest {folder}")
        return 0


def _refuse_name(name: str, distribution: str) -> None:
    if not _NAME.fullmatch(name):
        raise AeframeError(
            f"a plugin's name is in snake_case (letters, digits and single _), found '{name}'; choose another"
        )
    if keyword.iskeyword(name):
        raise AeframeError(f"'{name}' is a word of Python's own, so it cannot name a plugin; choose another")
    for plugin in registry().plugins:
        if plugin.name == name or plugin.distribution == distribution:
            raise AeframeError(
                f"a plugin '{name}' is installed already, {plugin.distribution} {plugin.version}; choose another name"
            )
    for kind in ("modality", "dataset"):
        if registry().has(kind, name):
            holder = registry().entry(kind, name).distribution
            raise AeframeError(f"{kind} '{name}' is registered already, by {holder}; choose another name")


def _range(version: str) -> str:
    """Return the range of versions that keep the hooks as they are: up to the next minor one."""
    major, minor, *_ = version.split(".")
    return f">={major}.{minor},<{major}.{int(minor) + 1}"
