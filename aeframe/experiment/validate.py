"""What a composed config must be: known settings of the right type, known parts with known options, nothing missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

import pydantic

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.class_paths import CLASS, checked_class, plain
from aeframe.experiment.intervals import interval
from aeframe.experiment.ranges import check_ranges
from aeframe.experiment.schema import GROUPS, OptimizerGroupSettings, RunSettings, TrainerSettings
from aeframe.experiment.source import kind_of
from aeframe.experiment.trainer_arguments import extra_arguments, own_settings, readable
from aeframe.factory import REQUIRED, defaults, signature
from aeframe.registry import registry

LABELLED = {"penalties": "penalty", "critics": "critic", "callbacks": "callback", "logger": "logger"}
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
    settings = _settings(
        {**{key: config[key] for key in known if key in config}, "logger": _by_label(config.get("logger"))}
    )
    for setting, kind in LABELLED.items():
        settings[setting] = {
            label: _labelled(kind, setting, label, options)
            for label, options in settings[setting].items()
            # null removes what a recipe has.
            if options is not None
        }
    for name, options in settings["metrics"].items():
        # null removes a metric of the modality.
        if options is not None:
            _part("metric", f"metrics.{name}", {"name": name, **_mapping(f"metrics.{name}", options)})
    return {"model": dict(model), **parts, **settings}


def _group(group: str, part: Any) -> dict[str, Any]:
    if part is None:
        names = ", ".join(registry().names(kind_of(group)))
        raise AeframeError(f"a run needs a {group}, found none; choose one with {group}=..., known are {names}")
    part = {"name": part} if isinstance(part, str) else part
    if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
        raise AeframeError(f"{group} expects a name or {{name: ..., options}}, found {part!r}; write {group}=NAME")
    return _part(kind_of(group), group, part)


def _by_label(loggers: Any) -> Any:
    """Return loggers by label where they are written as a name, a list of names, or ``{name: ..., options}``."""
    if isinstance(loggers, str):
        return {loggers: {}}
    if isinstance(loggers, list) and all(isinstance(each, str) for each in loggers):
        return {each: {} for each in loggers}
    if isinstance(loggers, Mapping) and isinstance(name := loggers.get("name"), str):
        return {name: loggers}
    return loggers


def _labelled(kind: str, setting: str, label: str, options: Any) -> dict[str, Any]:
    """Return one part under a label of the user's own, by name or by class path."""
    key = f"{setting}.{label}"
    if kind == "logger" and not isinstance(options, Mapping):
        raise AeframeError(
            f"logger expects settings by label, found {key}={options!r}; write logger.LABEL.{label}=..., such as "
            f"logger.wandb.{label}={options}"
        )
    part = dict(_mapping(key, options))
    if kind in ("penalty", "critic"):
        return _part(kind, key, {"name": label, **part})
    if CLASS in part:
        return checked_class(kind, key, part)
    if kind == "callback" and "name" not in part and not registry().has(kind, label):
        known = registry().names(kind)
        raise AeframeError(
            f"unknown callback '{label}'{did_you_mean(label, known)}; known are {', '.join(known) or 'none'}, and any "
            f"other is named by its class path: {key}.class=PACKAGE.MODULE.CLASS"
        )
    whole = _part(kind, key, {"name": label, **part})
    # A default such as an Enum cannot be written as YAML; the constructor has it anyway.
    unwritable = {
        option.name
        for option in signature(registry().load(kind, whole["name"])).options.values()
        if option.name not in part and option.default is not REQUIRED and not plain(option.default)
    }
    return {name: value for name, value in whole.items() if name not in unwritable}


def _part(kind: str, key: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part with all its options; refuse options that its signature lacks, and missing values."""
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
    trainer = _mapping("trainer", given.get("trainer"))
    extra = extra_arguments(trainer)
    groups = _mapping("optimizers", given.get("optimizers"))
    for label, group in groups.items():
        known = [field.name for field in dataclasses.fields(OptimizerGroupSettings)]
        _only(f"optimizers.{label}", _mapping(f"optimizers.{label}", group), known)
    own = {name: value for name, value in trainer.items() if name in own_settings()}
    # null stands for no entries, as everywhere.
    labelled: dict[str, Any] = {key: {} for key in (*LABELLED, "metrics") if key in given and given[key] is None}
    try:
        settings = dataclasses.asdict(
            pydantic.TypeAdapter(RunSettings).validate_python(
                {**given, **labelled, "trainer": own, "optimizers": dict(groups)}
            )
        )
    except pydantic.ValidationError as error:
        raise AeframeError(_wrong_type(error)) from None
    settings["trainer"] |= extra
    settings["checkpoint_every"] = interval("checkpoint_every", settings["checkpoint_every"])
    check_ranges(settings)
    return settings


def _wrong_type(error: pydantic.ValidationError) -> str:
    """Return the sentence for the first setting of another type."""
    errors = error.errors()
    path = [str(each) for each in errors[0]["loc"]]
    # What follows the setting's own name are members of a union.
    length = {"trainer": 2, "optimizers": 3}.get(path[0], 1)
    path, value = path[:length], errors[0]["input"]
    of: Any = {"trainer": TrainerSettings, "optimizers": OptimizerGroupSettings}.get(path[0], RunSettings)
    annotation = get_type_hints(of).get(path[-1], "a value")
    # One reason for each member of a union tells a person nothing.
    alike = [each for each in errors if [str(part) for part in each["loc"]][:length] == path]
    reason = f" ({errors[0]['msg']})" if len(alike) == 1 else ""
    return f"setting '{'.'.join(path)}' expects {readable(annotation)}, found {value!r}{reason}"


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
