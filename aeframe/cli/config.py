"""``aeframe config show | check | why`` prints, checks or explains the config of a run."""

from __future__ import annotations

import dataclasses
import typing
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.cli import Command
from aeframe.cli.annotations import format_type, format_value, option_type
from aeframe.errors import printable

if TYPE_CHECKING:
    from aeframe.experiment.provenance import Provenance

_OVERRIDES = "a setting of the run, as for aeframe-train: model=vae latent.dim=8"


class Config(Command):
    """Print, check or explain the config of a run without training."""

    def arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="{show,check,why}")
        helps = {
            "show": "print the whole config of a run as YAML",
            "check": "check that a run would start; exit code 2 and the reason if not",
            "why": "print which file, signature or override sets a value, and its alternatives",
        }
        parsers = {name: verbs.add_parser(name, help=text, description=text) for name, text in helps.items()}
        parsers["why"].add_argument(
            "key", metavar="KEY", help="a part (loss), an option (latent.dim) or a setting (seed)"
        )
        for verb in parsers.values():
            verb.add_argument("overrides", metavar="OVERRIDE", nargs="*", help=_OVERRIDES)
            verb.add_argument("--config-dir", metavar="DIR", type=Path, help="folder of configs (default: ./configs)")

    def run(self, args: Namespace) -> int:
        if args.verb == "why":
            print(printable("\n".join(_provenance_lines(args))))
            return 0
        from aeframe.experiment.compose import compose

        config = compose(args.overrides, config_dir=args.config_dir)
        if args.verb == "show":
            import yaml

            print(yaml.safe_dump(config, sort_keys=False), end="")
            return 0
        from aeframe.experiment.checks import check

        _, _, spec = check(config)
        shape = " x ".join(str(size) for size in spec.shape)
        sample = f"samples of {shape}, {spec.domain.summary}"
        print(f"{config['model']['name']} on {config['data']['name']} would start: {sample}")
        return 0


def _provenance_lines(args: Namespace) -> Iterator[str]:
    """Return the lines of ``aeframe config why``: its value, sources (highest precedence first) and alternatives."""
    from aeframe.experiment.provenance import why

    provenance = why(args.key, args.overrides, config_dir=args.config_dir)
    yield f"{args.key}: {format_value(provenance.value)}"
    labels = ["set by", *["overrides"] * (len(provenance.sources) - 1)]
    for label, source in zip(labels, reversed(provenance.sources), strict=False):
        value = "" if label == "set by" else f", value {format_value(source.value)}"
        yield f"  {label:<9} {source.place}{value}"
    yield from _alternatives(args.key, provenance)


def _alternatives(key: str, provenance: Provenance) -> Iterator[str]:
    """Return lines on the names or the type of values that a key accepts."""
    if provenance.options is not None:
        yield f"  {'available':<9} {', '.join(provenance.options) or 'none'}"
        return
    annotation = _annotation(key, provenance)
    if annotation is None:
        return
    yield f"  {'expects':<9} {format_type(annotation)}"
    from aeframe.factory import part_kind
    from aeframe.registry import registry

    if (kind := part_kind(annotation)) is not None:
        names = ", ".join(registry().names(str(getattr(kind, "part_kind", ""))))
        yield f"  {'available':<9} a number, or {{name: ..., options}} with one of {names}"


def _annotation(key: str, provenance: Provenance) -> Any:
    """Return the type of an option or a setting; None if the key is neither."""
    from aeframe.experiment.schema import OptimizerGroupSettings, RunSettings, TrainerSettings
    from aeframe.factory import signature
    from aeframe.registry import registry

    path = key.split(".")
    if provenance.part is not None:
        option = signature(registry().load(*provenance.part)).options.get(path[-1])
        return None if option is None else option_type(provenance.part[0], option)
    nested: dict[str, Any] = {"trainer": TrainerSettings, "optimizers": OptimizerGroupSettings}
    settings = nested.get(path[0], RunSettings) if len(path) > 1 else RunSettings
    names = [field.name for field in dataclasses.fields(settings)]
    return typing.get_type_hints(settings)[path[-1]] if path[-1] in names else None
