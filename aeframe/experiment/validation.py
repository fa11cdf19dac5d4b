"""Validate a composed config: known settings and options, right types and ranges, nothing missing."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

import pydantic

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.callbacks_and_loggers import CLASS, checked_class, plain
from aeframe.experiment.schema import OptimizerGroupSettings, RunSettings, TrainerSettings
from aeframe.experiment.trainer_arguments import (
    check_accelerator,
    check_devices,
    check_strategy,
    extra_arguments,
    own_settings,
    readable,
)
from aeframe.factory import REQUIRED, defaults, signature
from aeframe.kinds import BY_KEY, GROUPS, LABELLED
from aeframe.registry import registry


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
    for key, kind in LABELLED.items():
        parts_by_label = {
            label: _labelled(kind.name, key, label, options)
            for label, options in settings[key].items()
            # null removes a part of the recipe.
            if options is not None
        }
        # Metrics are checked here and stay as they are: null removes one of the modality, which is not known yet.
        if kind.name != "metric":
            settings[key] = parts_by_label
    return {"model": dict(model), **parts, **settings}


def _group(group: str, part: Any) -> dict[str, Any]:
    if part is None:
        names = ", ".join(registry().names(BY_KEY[group].name))
        raise AeframeError(f"a run needs a {group}, found none; choose one with {group}=..., known are {names}")
    part = {"name": part} if isinstance(part, str) else part
    if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
        raise AeframeError(f"{group} expects a name or {{name: ..., options}}, found {part!r}; write {group}=NAME")
    return _part(BY_KEY[group].name, group, part)


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
    if kind in ("penalty", "critic", "metric"):
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
    labelled: dict[str, Any] = {key: {} for key in LABELLED if key in given and given[key] is None}
    try:
        settings = dataclasses.asdict(
            pydantic.TypeAdapter(RunSettings).validate_python(
                {**given, **labelled, "trainer": own, "optimizers": dict(groups)}
            )
        )
    except pydantic.ValidationError as error:
        raise AeframeError(_setting_error(error)) from None
    settings["trainer"] |= extra
    settings["checkpoint_every"] = interval("checkpoint_every", settings["checkpoint_every"])
    _check_trainer(settings["trainer"])
    return settings


def _setting_error(error: pydantic.ValidationError) -> str:
    """Return the sentence for the first setting of another type, or outside its range."""
    errors = error.errors()
    path = [str(each) for each in errors[0]["loc"]]
    # Below the setting's own name, the path names members of a union.
    length = {"trainer": 2, "optimizers": 3}.get(path[0], 1)
    path, value = path[:length], errors[0]["input"]
    settings: Any = {"trainer": TrainerSettings, "optimizers": OptimizerGroupSettings}.get(path[0], RunSettings)
    key = ".".join(path)
    alike = [each for each in errors if [str(part) for part in each["loc"]][:length] == path]
    if any(each["type"] in _OUT_OF_RANGE for each in alike):
        allowed = _range(get_type_hints(settings, include_extras=True)[path[-1]])
        return f"setting '{key}' must {allowed}, found {value}; set {key} to such a number"
    annotation = get_type_hints(settings).get(path[-1], "a value")
    # The reasons of several members of a union contradict each other.
    reason = f" ({errors[0]['msg']})" if len(alike) == 1 else ""
    return f"setting '{key}' expects {readable(annotation)}, found {value!r}{reason}"


def _range(annotation: Any) -> str:
    """Return the range in a setting's annotation, as in "be at least 1" or "lie between 0 and 1, exclusive"."""
    bounds: dict[str, float] = {}
    pending = [annotation]
    while pending:
        each = pending.pop()
        pending += [*get_args(each), *getattr(each, "metadata", ())]
        bounds |= {name: getattr(each, name) for name in ("ge", "gt", "le", "lt") if hasattr(each, name)}
    low, high = bounds.get("ge", bounds.get("gt", 0)), bounds.get("le", bounds.get("lt"))
    if high is None:
        return f"be above {low:.10g}" if "gt" in bounds else f"be at least {low:.10g}"
    return f"lie between {low:.10g} and {high:.10g}{', exclusive' * ('gt' in bounds)}"


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


_PRECISIONS = (
    "32-true",
    "bf16-mixed",
    "16-mixed",
    "64-true",
    "transformer-engine",
    "transformer-engine-float16",
)

_OUT_OF_RANGE = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_LOSSY = {"bf16-true": "bf16-mixed", "16-true": "16-mixed"}
"""Precisions of Lightning in which the parts do not work, and those that serve the same purpose."""


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    """Refuse a precision, accelerator, number of devices or strategy that a run cannot use."""
    if (precision := trainer["precision"]) in _LOSSY:
        raise AeframeError(
            f"setting 'trainer.precision={precision}' would keep weights, likelihoods and codebooks in 8 to 11 bits, "
            f"which no recipe trains with; set trainer.precision={_LOSSY[precision]}"
        )
    if precision not in _PRECISIONS:
        raise AeframeError(
            f"setting 'trainer.precision' has no value '{precision}'{did_you_mean(precision, _PRECISIONS)}; choose "
            f"{', '.join(_PRECISIONS)}"
        )
    check_accelerator(trainer["accelerator"])
    check_devices(trainer["devices"])
    check_strategy(trainer["strategy"])


_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}


def interval(setting: str, value: int | str | None) -> int | str | None:
    """Return an interval as a config stores it: batches as an int, a time as ``NUMBER`` and ``s``, ``min`` or ``h``.

    Raises:
        AeframeError: A string of another form, or an interval of nothing.
    """
    if value is None:
        return None
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int):
        if isinstance(value, bool) or value < 1:
            raise AeframeError(
                f"setting '{setting}' must be at least 1 batch, found {value}; set {setting} to such a number"
            )
        return value
    if _TIME.fullmatch(value.strip()) is None or interval_seconds(value) <= 0:
        raise AeframeError(
            f"setting '{setting}' expects a number of batches or a time, found {value!r}; "
            f"write {setting}=500, {setting}=90s, {setting}=10min or {setting}=2h"
        )
    return value.strip()


def interval_seconds(value: str) -> float:
    """Return the seconds in a time of the form that `interval` accepts: 600 for ``10min``."""
    found = _TIME.fullmatch(value.strip())
    assert found is not None
    return float(found.group(1)) * _SECONDS[found.group(2)]
