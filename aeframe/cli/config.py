"""``aeframe config show | check | why``."""

from __future__ import annotations

import dataclasses
import typing
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.cli import Command
from aeframe.cli.annotations import option_type, shown, written

if TYPE_CHECKING:
    from aeframe.experiment.provenance import Provenance

_OVERRIDES = "as on the command line of aeframe-train: model=vae latent.dim=8"


class Config(Command):
    """Look at the config of a run without training it."""

    def arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="{show,check,why}")
        show = verbs.add_parser("show", help="print the whole config of a run as YAML")
        check = verbs.add_parser("check", help="say whether a run would start, and why not; exit code 2 if not")
        why = verbs.add_parser("why", help="say which file, signature or override set a value, and what else there is")
        why.add_argument("key", metavar="KEY", help="a part (loss), an option (latent.dim) or a setting (seed)")
        for each in (show, check, why):
            each.add_argument("overrides", metavar="OVERRIDE", nargs="*", help=_OVERRIDES)
            each.add_argument("--config-dir", metavar="DIR", type=Path, help="instead of ./configs")

    def run(self, args: Namespace) -> int:
        if args.verb == "why":
            print("\n".join(_why(args)))
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
        print(f"{config['model']['name']} on {config['data']['name']} would start: samples of {shape}, {spec.domain}")
        return 0


def _why(args: Namespace) -> Iterator[str]:
    from aeframe.experiment.provenance import why

    found = why(args.key, args.overrides, config_dir=args.config_dir)
    yield f"{args.key}: {shown(found.value)}"
    labels = ["set by", *["over"] * (len(found.sources) - 1)]
    for label, source in zip(labels, reversed(found.sources), strict=False):
        yield f"  {label:<9} {source.place}" + ("" if label == "set by" else f", which has {shown(source.value)}")
    yield from _on_offer(args.key, found)


def _on_offer(key: str, found: Provenance) -> Iterator[str]:
    if found.options is not None:
        yield f"  {'available':<9} {', '.join(found.options) or 'none'}"
        return
    annotation = _annotation(key, found)
    if annotation is None:
        return
    yield f"  {'expects':<9} {written(annotation)}"
    from aeframe.factory import part_kind
    from aeframe.registry import registry

    if (kind := part_kind(annotation)) is not None:
        names = ", ".join(registry().names(str(getattr(kind, "part_kind", ""))))
        yield f"  {'available':<9} a number, or {{name: ..., options}} with one of {names}"


def _annotation(key: str, found: Provenance) -> Any:
    """Return the type of an option or a setting, None where the key is no such thing."""
    from aeframe.experiment.schema import OptimizerGroupSettings, RunSettings, TrainerSettings
    from aeframe.factory import signature
    from aeframe.registry import registry

    path = key.split(".")
    if found.part is not None:
        option = signature(registry().load(*found.part)).options.get(path[-1])
        return None if option is None else option_type(found.part[0], option)
    nested: dict[str, Any] = {"trainer": TrainerSettings, "optimizers": OptimizerGroupSettings}
    of = nested.get(path[0], RunSettings) if len(path) > 1 else RunSettings
    known = [field.name for field in dataclasses.fields(of)]
    return typing.get_type_hints(of)[path[-1]] if path[-1] in known else None
