"""``aeframe explain KIND NAME`` prints the documentation and options of a part, or the content of an option file.

A part is one registered component, such as the loss (its kind) ``mse`` (its name). An option file is a YAML file that
sets several options at once: a recipe chooses the parts of a model, an experiment chooses recipe, data and settings.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from aeframe.cli import Command
from aeframe.cli.annotations import format_type, format_value, option_type
from aeframe.errors import AeframeError, did_you_mean
from aeframe.kinds import BY_KEY, GROUPS, KINDS
from aeframe.registry import Entry, registry

if TYPE_CHECKING:
    from aeframe.experiment.composition.option_files import OptionFile

_WIDTH = 100
# Of the long docstrings in these libraries, only the first paragraph is printed.
_LIBRARIES = frozenset({"torch", "lightning"})


class Explain(Command):
    """Print the documentation, options, defaults and origin of a part, and the parts that fit it.

    For a recipe or an experiment, print the parts and settings that it contains.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", metavar="KIND", help=f"model, experiment, data, or one of {', '.join(KINDS)}")
        parser.add_argument("name", metavar="NAME", help="name of the part, as in a config: gaussian")

    def run(self, args: Namespace) -> int:
        kind = BY_KEY[args.kind].name if args.kind in BY_KEY else args.kind
        if kind in KINDS:
            print("\n".join(_part_lines(registry().entry(kind, args.name))))
            return 0
        from aeframe.experiment.composition.loader import Loader
        from aeframe.experiment.composition.option_files import file_groups, option_file

        loader = Loader(names_only=True)
        if kind not in (groups := file_groups(loader)):
            known = [*groups, *KINDS]
            raise AeframeError(f"unknown kind '{kind}'{did_you_mean(kind, known)}; kinds are {', '.join(known)}")
        print("\n".join(_option_file_lines(option_file(loader, kind, args.name))))
        return 0


def _part_lines(entry: Entry) -> Iterator[str]:
    """Return the lines that explain a registered part."""
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

    constructor = signature(target)
    yield from _wrapped("injected", f"{', '.join(constructor.injected) or 'nothing'} (by the framework)")
    for label, text in _relations(entry, target):
        yield from _wrapped(label, text)
    if not constructor.options:
        yield f"{'options':<10}none"
        return
    yield "options"
    rows = [
        (
            option.name,
            format_type(option_type(entry.kind, option)),
            "required" if option.default is REQUIRED else f"default {format_value(_plain(option.default))}",
        )
        for option in constructor.options.values()
    ]
    yield from _table(rows)


def _option_file_lines(file: OptionFile) -> Iterator[str]:
    """Return the lines that explain an option file, such as a recipe."""
    yield f"{file.group} {file.name}"
    yield f"{'file':<10}{file.place}"
    if file.comment:
        yield from ("", *file.comment.splitlines(), "")
    if file.choices:
        yield "selects"
        yield from _table([(key, "nothing" if value is None else value, _summary(key, value))
                           for key, value in file.choices.items()])  # fmt: skip
    if file.settings:
        yield "sets"
        yield from _table([(key, format_value(value)) for key, value in file.settings.items()])


def _origin(entry: Entry) -> str:
    plugin = next(plugin for plugin in registry().plugins if plugin.name == entry.plugin)
    return f"{plugin.distribution} {plugin.version} (plugin {plugin.name})"


def _file_of(target: Any) -> str | None:
    try:
        return inspect.getsourcefile(target)
    except TypeError:
        # A builtin or an instance has no source file.
        return None


def _documentation(target: Any) -> str:
    # Not inspect.getdoc, which returns the docstring of a base class if the class has none.
    text = inspect.cleandoc(target.__doc__ or "")
    library = str(getattr(target, "__module__", "")).partition(".")[0] in _LIBRARIES
    return text.partition("\n\n")[0] if library else text


def _plain(value: Any) -> Any:
    """Return a default as a plain value; a part as its config."""
    return value.plain() if hasattr(value, "plain") else value


def _relations(entry: Entry, target: Any) -> Iterator[tuple[str, str]]:
    """Return lines on a part, as labels and texts: mainly the data and parts that it can be combined with."""
    if entry.kind in ("loss", "corruption"):
        from aeframe.experiment.checks import domains_of

        yield "data", ", ".join(sorted(domains_of(entry.kind, entry.name)))
    if entry.kind in ("loss", "metric"):
        unit: str | None = getattr(target, "unit", None)
        if unit:
            yield "unit", unit
    if entry.kind in ("objective", "prior", "sampler"):
        matching = [name for name, part in _loaded("latent") if target.requires <= part.provides]
        requires = f"provides {', '.join(sorted(target.requires))}" if target.requires else "provides anything"
        yield "latent", f"one that {requires}: {', '.join(matching) or 'none is installed'}"
    if entry.kind == "latent":
        yield "provides", ", ".join(sorted(target.provides)) or "a point only"
        matching = [name for name, part in _loaded("objective") if part.requires <= target.provides]
        yield "objective", ", ".join(matching)
    if entry.kind == "activation":
        yield from _traits(target)
    if entry.kind == "modality":
        yield "defaults", ", ".join(f"{kind} {name}" for kind, name in target.defaults.items()) or "those of every run"
        yield "metrics", ", ".join(target.metrics)
        datasets = [name for name, dataset in _loaded("dataset") if dataset.modality == entry.name]
        yield "data", ", ".join(_with_default(datasets, target.dataset)) or "none is installed"
    if entry.kind == "dataset":
        yield "modality", target.modality
    if selected_by := list(_selected_by(entry)):
        yield "used by", ", ".join(selected_by)


def _with_default(names: list[str], default: str | None) -> list[str]:
    """Return the names with the default one first, marked."""
    others = [name for name in names if name != default]
    return others if default is None else [f"{default} (default)", *others]


def _traits(target: Any) -> Iterator[tuple[str, str]]:
    """Return the range and the other traits of an activation, as labels and texts."""
    from aeframe.parts.activations import traits

    declared = traits(target)
    left = "[" if declared.attained[0] and math.isfinite(declared.low) else "("
    right = "]" if declared.attained[1] and math.isfinite(declared.high) else ")"
    yield "range", f"{left}{declared.low:.6g}, {declared.high:.6g}{right}"
    flags = {
        "saturates": declared.saturates,
        "has parameters": declared.learnable,
        "not elementwise": not declared.elementwise,
    }
    if names := [name for name, is_set in flags.items() if is_set]:
        yield "traits", ", ".join(names)


def _selected_by(entry: Entry) -> Iterator[str]:
    """Return the recipes that select a part, and the modalities that have it as a default."""
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
    """Return the name and the class of each part of a kind that can be imported."""
    for name in registry().names(kind):
        try:
            part = registry().load(kind, name)
        except AeframeError:
            # A broken part of another plugin must not prevent the explanation of this part.
            continue
        yield name, part


def _summary(group: str, name: str | None) -> str:
    """Return the one-line summary of the part that ``group=name`` chooses, if there is one."""
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
