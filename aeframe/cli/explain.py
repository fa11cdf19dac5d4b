"""``aeframe explain KIND NAME``."""

from __future__ import annotations

import inspect
import math
import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from aeframe.cli import Command
from aeframe.cli.annotations import option_type, shown, written
from aeframe.errors import AeframeError, did_you_mean
from aeframe.kinds import BY_KEY, GROUPS, KINDS
from aeframe.registry import Entry, registry

if TYPE_CHECKING:
    from aeframe.experiment.composition.option_files import OptionFile

_WIDTH = 100
# Their docstrings are pages long; the first paragraph is enough.
_LIBRARIES = frozenset({"torch", "lightning"})


class Explain(Command):
    """Print a part's documentation, options, defaults and origin, and what it fits."""

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", metavar="KIND", help=f"model, experiment, data, or one of {', '.join(KINDS)}")
        parser.add_argument("name", metavar="NAME", help="as a config has it, such as gaussian")

    def run(self, args: Namespace) -> int:
        kind = BY_KEY[args.kind].name if args.kind in BY_KEY else args.kind
        if kind in KINDS:
            print("\n".join(_part(registry().entry(kind, args.name))))
            return 0
        from aeframe.experiment.composition.loader import Loader
        from aeframe.experiment.composition.option_files import file_groups, option_file

        loader = Loader(names_only=True)
        if kind not in (groups := file_groups(loader)):
            known = [*groups, *KINDS]
            raise AeframeError(f"unknown kind '{kind}'{did_you_mean(kind, known)}; kinds are {', '.join(known)}")
        print("\n".join(_recipe(option_file(loader, kind, args.name))))
        return 0


def _part(entry: Entry) -> Iterator[str]:
    """Return the lines on a registered name."""
    target = entry.load()
    yield f"{entry.kind} {entry.name}{f': {entry.summary}' if entry.summary else ''}"
    yield f"{'from':<10}{_origin(entry)}, {entry.target}"
    if (file := _file_of(target)) is not None:
        yield f"{'file':<10}{file}"
    if text := _documentation(target):
        yield from ("", *text.splitlines())
    if not KINDS[entry.kind].configured:
        return
    yield ""
    from aeframe.factory import REQUIRED, signature

    wants = signature(target)
    yield from _wrapped("injected", f"{', '.join(wants.injected) or 'nothing'} (by the framework)")
    for label, text in _company(entry, target):
        yield from _wrapped(label, text)
    if not wants.options:
        yield f"{'options':<10}none"
        return
    yield "options"
    rows = [
        (
            option.name,
            written(option_type(entry.kind, option)),
            "required" if option.default is REQUIRED else f"default {shown(_default(option.default))}",
        )
        for option in wants.options.values()
    ]
    yield from _table(rows)


def _recipe(found: OptionFile) -> Iterator[str]:
    """Return the lines on an option in YAML."""
    yield f"{found.group} {found.name}"
    yield f"{'file':<10}{found.place}"
    if found.comment:
        yield from ("", *found.comment.splitlines(), "")
    if found.choices:
        yield "chooses"
        yield from _table([(key, "nothing" if value is None else value, _summary(key, value))
                           for key, value in found.choices.items()])  # fmt: skip
    if found.settings:
        yield "sets"
        yield from _table([(key, shown(value)) for key, value in found.settings.items()])


def _origin(entry: Entry) -> str:
    plugin = next(each for each in registry().plugins if each.name == entry.plugin)
    return f"{plugin.distribution} {plugin.version} (plugin {plugin.name})"


def _file_of(target: Any) -> str | None:
    try:
        return inspect.getsourcefile(target)
    except TypeError:
        # Something made in C, or an instance.
        return None


def _documentation(target: Any) -> str:
    # Not inspect.getdoc, which returns the docstring of a base class where there is none.
    text = inspect.cleandoc(target.__doc__ or "")
    library = str(getattr(target, "__module__", "")).partition(".")[0] in _LIBRARIES
    return text.partition("\n\n")[0] if library else text


def _default(value: Any) -> Any:
    return value.plain() if hasattr(value, "plain") else value


def _company(entry: Entry, target: Any) -> Iterator[tuple[str, str]]:
    """Return what a part goes together with, as far as its kind restricts that."""
    if entry.kind in ("loss", "corruption"):
        from aeframe.experiment.checks import domains_of

        yield "data", ", ".join(sorted(domains_of(entry.kind, entry.name)))
    if entry.kind == "loss":
        yield "unit", target.unit
    if entry.kind in ("objective", "prior", "sampler"):
        fitting = [name for name, part in _loaded("latent") if target.requires <= part.provides]
        requires = f"provides {', '.join(sorted(target.requires))}" if target.requires else "provides anything"
        yield "latent", f"one that {requires}: {', '.join(fitting) or 'none is installed'}"
    if entry.kind == "latent":
        yield "provides", ", ".join(sorted(target.provides)) or "a point, and nothing more"
        fitting = [name for name, part in _loaded("objective") if part.requires <= target.provides]
        yield "objective", ", ".join(fitting)
    if entry.kind == "activation":
        yield from _traits(target)
    if entry.kind == "modality":
        yield "defaults", ", ".join(f"{kind} {name}" for kind, name in target.defaults.items()) or "those of a run"
        yield "metrics", ", ".join(target.metrics)
        yield "data", target.dataset or "none unless one is named"
    if entry.kind == "dataset":
        yield "modality", target.modality
    if by := list(_chosen_by(entry)):
        yield "chosen by", ", ".join(by)


def _traits(target: Any) -> Iterator[tuple[str, str]]:
    from aeframe.parts.activations import traits

    known = traits(target)
    left = "[" if known.attained[0] and math.isfinite(known.low) else "("
    right = "]" if known.attained[1] and math.isfinite(known.high) else ")"
    yield "range", f"{left}{known.low:.6g}, {known.high:.6g}{right}"
    others = {"saturates": known.saturates, "has parameters": known.learnable, "mixes values": not known.elementwise}
    if named := [name for name, holds in others.items() if holds]:
        yield "also", ", ".join(named)


def _chosen_by(entry: Entry) -> Iterator[str]:
    """Return the recipes that name a part, and the modalities whose default it is."""
    from aeframe.experiment.composition.loader import Loader
    from aeframe.experiment.composition.option_files import option_files

    group = KINDS[entry.kind].key
    if group not in GROUPS:
        return
    for recipe in option_files(Loader(names_only=True), "model"):
        if recipe.choices.get(group) == entry.name:
            yield f"model={recipe.name}"
    for name, modality in _loaded("modality"):
        if modality.defaults.get(group) == entry.name or (group == "data" and modality.dataset == entry.name):
            yield f"modality={name}"


def _loaded(kind: str) -> Iterator[tuple[str, Any]]:
    for name in registry().names(kind):
        try:
            part = registry().load(kind, name)
        except AeframeError:
            # Another plugin's part that cannot be imported must not hide this one.
            continue
        yield name, part


def _summary(group: str, name: str | None) -> str:
    kind = BY_KEY.get(group)
    if kind is None or name is None or not registry().has(kind.name, name):
        return ""
    return registry().entry(kind.name, name).summary


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))).rstrip()
            for row in rows]  # fmt: skip


def _wrapped(label: str, text: str) -> list[str]:
    head = f"{label:<10}"
    return textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=" " * 10, break_long_words=False) or [
        head.rstrip()
    ]
