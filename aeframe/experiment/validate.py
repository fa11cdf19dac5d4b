"""What a composed config must be: known settings of the right type, known parts with known options, nothing missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

import pydantic

from aeframe.build import REQUIRED, defaults, signature
from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.ranges import check_ranges
from aeframe.experiment.schema import GROUPS, PlayerSettings, RunSettings, TrainerSettings
from aeframe.experiment.source import kind_of
from aeframe.registry import registry

OPTIONAL = frozenset({"logger"})
"""Groups of which a run may have none."""
LABELLED = {"penalties": "penalty", "callbacks": "callback"}
"""Settings that hold parts under labels of the user's own; the label is the part's name where none is given."""


def validated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed config as plain values, with every setting and every option present.

    Raises:
        AeframeError: An unknown key, name or option, a setting of another type, a value that is still ``???``.
    """
    known = [field.name for field in dataclasses.fields(RunSettings)]
    for key in config:
        if key not in (*known, *GROUPS, "model"):
            near = did_you_mean(key, [*known, *GROUPS])
            raise AeframeError(
                f"a run has no setting and no part '{key}'{near or '; aeframe-train --help lists what it has'}"
            )
    model = config.get("model") or {"name": "custom"}
    _only("model", model, ["name"])
    parts = {group: _group(group, config.get(group)) for group in GROUPS}
    settings = _settings({key: config[key] for key in known if key in config})
    for setting, kind in LABELLED.items():
        settings[setting] = {
            label: _part(kind, f"{setting}.{label}", {"name": label, **_mapping(f"{setting}.{label}", options)})
            for label, options in settings[setting].items()
            # null takes away what a recipe has.
            if options is not None
        }
    for name, options in settings["metrics"].items():
        # null takes a metric of the modality away, whatever the modality has.
        if options is not None:
            _part("metric", f"metrics.{name}", {"name": name, **_mapping(f"metrics.{name}", options)})
    return {"model": dict(model), **parts, **settings}


def _group(group: str, part: Any) -> dict[str, Any] | None:
    if part is None and group in OPTIONAL:
        return None
    if part is None:
        names = ", ".join(registry().names(kind_of(group)))
        raise AeframeError(f"a run needs a {group}, found none; choose one with {group}=..., known are {names}")
    part = {"name": part} if isinstance(part, str) else part
    if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
        raise AeframeError(f"{group} expects a name or {{name: ..., options}}, found {part!r}; write {group}=NAME")
    return _part(kind_of(group), group, part)


def _part(kind: str, key: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part with all its options; refuse what its signature does not have, and what nobody has given."""
    name = str(part["name"])
    options = signature(registry().load(kind, name)).options
    for option in part:
        if option != "name" and option not in options:
            near = did_you_mean(option, options)
            # Nothing near it: a recipe may have meant it for the part that another choice has replaced.
            recipe = "" if near else f", and where a recipe sets this one, drop it with '~{key}.{option}'"
            raise AeframeError(
                f"{kind} '{name}' has no option '{option}'{near}; "
                f"its options are {', '.join(options) or 'none'}{recipe}"
            )
    whole = {**defaults(kind, name), **part}
    for option, value in whole.items():
        if value == "???" or value is REQUIRED:
            raise AeframeError(f"{kind} '{name}' needs a value for '{option}'; set {key}.{option}=...")
    return whole


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    _only("trainer", _mapping("trainer", given.get("trainer")), [f.name for f in dataclasses.fields(TrainerSettings)])
    for label, player in _mapping("players", given.get("players")).items():
        known = [field.name for field in dataclasses.fields(PlayerSettings)]
        _only(f"players.{label}", _mapping(f"players.{label}", player), known)
    try:
        settings = dataclasses.asdict(pydantic.TypeAdapter(RunSettings).validate_python(dict(given)))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        path = [str(each) for each in first["loc"]]
        expected = _expected(path)
        raise AeframeError(
            f"setting '{'.'.join(path)}' expects {expected}, found {first['input']!r} ({first['msg']})"
        ) from None
    check_ranges(settings)
    return settings


def _expected(path: list[str]) -> str:
    """Return the annotation of a setting as a person writes it: ``int``, ``float | None``."""
    of: Any = {"trainer": TrainerSettings, "players": PlayerSettings}.get(path[0], RunSettings)
    annotation = get_type_hints(of).get(path[-1] if of is not RunSettings else path[0], "a value")
    return annotation.__name__ if type(annotation) is type else str(annotation).replace("typing.", "")


def _only(key: str, found: Mapping[str, Any], known: list[str]) -> None:
    for each in found:
        if each not in known:
            raise AeframeError(
                f"{key} has no setting '{each}'{did_you_mean(each, known)}; its settings are {', '.join(known)}"
            )


def _mapping(key: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise AeframeError(f"{key} expects settings by name, found {value!r}; write {key}.NAME=VALUE")
    return value
