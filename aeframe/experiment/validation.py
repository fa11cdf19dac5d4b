"""Validate a composed config: names and options are known, types and ranges are right, no value is missing.

A config has *settings*, such as ``seed``, and *parts*: named components such as the loss ``mse``, with *options*. A key
in `GROUPS` (``loss``) has one part; a key in `LABELLED` (``penalties``, ``callbacks``) has several, by label.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, get_args, get_type_hints

import pydantic

from aeframe.errors import AeframeError, did_you_mean, quoting_hint
from aeframe.experiment.callbacks_and_loggers import CLASS, checked_class
from aeframe.experiment.schema import OptimizerGroupSettings, RunSettings, TrainerSettings
from aeframe.experiment.trainer_arguments import (
    check_accelerator,
    check_devices,
    check_strategy,
    extra_arguments,
    readable,
    setting_names,
)
from aeframe.factory import REQUIRED, defaults, signature
from aeframe.kinds import BY_KEY, GROUPS, LABELLED
from aeframe.registry import registry

_PRECISIONS = (
    "32-true",
    "bf16-mixed",
    "16-mixed",
    "64-true",
    "transformer-engine",
    "transformer-engine-float16",
)
_LOSSY = {"bf16-true": "bf16-mixed", "16-true": "16-mixed"}
"""Precisions of Lightning with weights in half precision, which the parts do not support, and what to use instead."""
_OUT_OF_RANGE = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
"""The types of pydantic's errors for a number outside its range."""
_NAMES_ELSEWHERE = {
    **dict.fromkeys(("lr", "learning_rate"), "optimizer.lr"),
    **dict.fromkeys(("epochs", "num_epochs", "n_epochs"), "max_epochs"),
    **dict.fromkeys(("latent_dim", "n_latent", "z_dim"), "latent.dim"),
    **dict.fromkeys(("device", "accelerator"), "trainer.accelerator"),
    **dict.fromkeys(("devices", "gpus"), "trainer.devices"),
    "precision": "trainer.precision",
    "early_stopping": "patience",
    "num_workers": "workers",
    "output_dir": "folder",
}
"""What settings are called in other libraries."""
_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}


def validated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed config as plain values, with every setting and every option present.

    Raises:
        AeframeError: An unknown key, name or option, a setting of another type, or a missing value (``???``).
    """
    known = [field.name for field in dataclasses.fields(RunSettings)]
    for key in config:
        if key not in (*known, *GROUPS, "model"):
            suggestion = did_you_mean(key, [*known, *GROUPS])
            if key in _NAMES_ELSEWHERE:
                suggestion = f", did you mean '{_NAMES_ELSEWHERE[key]}'?"
            raise AeframeError(
                f"a run has no setting and no part '{key}'{suggestion or '; aeframe-train --help lists what it has'}"
            )
    model = config.get("model") or {"name": "custom"}
    _check_keys("model", model, ["name"])
    parts = {group: _validated_group(group, config.get(group)) for group in GROUPS}
    settings = _validated_settings(
        {**{key: config[key] for key in known if key in config}, "logger": _by_label(config.get("logger"))}
    )
    for key, kind in LABELLED.items():
        parts_by_label = {
            label: _validated_entry(kind.name, key, label, options)
            for label, options in settings[key].items()
            # null removes a part that the recipe has.
            if options is not None
        }
        # Metrics are checked, but kept as written: those of the modality are added later, and null removes one of them.
        if kind.name != "metric":
            settings[key] = parts_by_label
    return {"model": dict(model), **parts, **settings}


def _validated_group(group: str, part: Any) -> dict[str, Any]:
    if part is None:
        names = ", ".join(registry().names(BY_KEY[group].name))
        raise AeframeError(f"a run needs a {group}, found none; choose one with {group}=..., known are {names}")
    part = {"name": part} if isinstance(part, str) else part
    if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
        raise AeframeError(f"{group} expects a name or {{name: ..., options}}, found {part!r}; write {group}=NAME")
    return _validated_part(BY_KEY[group].name, group, part)


def _by_label(loggers: Any) -> Any:
    """Return loggers by label; they may be written as a name, a list of names, or ``{name: ..., options}``."""
    if isinstance(loggers, str):
        return {loggers: {}}
    if isinstance(loggers, list) and all(isinstance(name, str) for name in loggers):
        return {name: {} for name in loggers}
    if isinstance(loggers, Mapping) and isinstance(name := loggers.get("name"), str):
        return {name: loggers}
    return loggers


def _validated_entry(kind: str, setting: str, label: str, options: Any) -> dict[str, Any]:
    """Return the part under a label of a setting (``callbacks.LABEL``), chosen by name or by class path."""
    key = f"{setting}.{label}"
    if kind == "logger" and not isinstance(options, Mapping):
        raise AeframeError(
            f"logger expects settings by label, found {key}={options!r}; write logger.LABEL.{label}=..., such as "
            f"logger.wandb.{label}={options}"
        )
    part = dict(_mapping(key, options))
    if kind not in ("callback", "logger"):
        return _validated_part(kind, key, {"name": label, **part})
    if CLASS in part:
        return checked_class(kind, key, part)
    if kind == "callback" and "name" not in part and not registry().has(kind, label):
        known = registry().names(kind)
        raise AeframeError(
            f"unknown callback '{label}'{did_you_mean(label, known)}; known are {', '.join(known) or 'none'}, and any "
            f"other is named by its class path: {key}.class=PACKAGE.MODULE.CLASS"
        )
    complete = _validated_part(kind, key, {"name": label, **part})
    # A default that YAML cannot hold, such as an Enum, is left out: the constructor uses it anyway.
    unwritable = {
        option.name
        for option in signature(registry().load(kind, complete["name"])).options.values()
        if option.name not in part and option.default is not REQUIRED and not _is_plain(option.default)
    }
    return {name: value for name, value in complete.items() if name not in unwritable}


def _is_plain(value: Any) -> bool:
    """Return whether a value can be written as YAML without a tag."""
    if isinstance(value, Enum):
        return False
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (str, int, float, bool)


def _validated_part(kind: str, key: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part with all its options, defaults included.

    Raises:
        AeframeError: An option that its signature lacks, or a missing value.
    """
    name = str(part["name"])
    options = signature(registry().load(kind, name)).options
    for option in part:
        if option != "name" and option not in options:
            suggestion = did_you_mean(option, options)
            # A recipe may have set it for a part that the user replaced by another one.
            recipe = "" if suggestion else f", and where a recipe sets this one, drop it with '~{key}.{option}'"
            raise AeframeError(
                f"{kind} '{name}' has no option '{option}'{suggestion}; "
                f"its options are {', '.join(options) or 'none'}{recipe}"
            )
    complete = {**defaults(kind, name), **part}
    for option, value in complete.items():
        if value == "???" or value is REQUIRED:
            raise AeframeError(f"{kind} '{name}' needs a value for '{option}'; set {key}.{option}=...")
    return complete


def _validated_settings(composed: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of `RunSettings`, with defaults, and the other arguments of the Trainer."""
    trainer = _mapping("trainer", composed.get("trainer"))
    lightning_arguments = extra_arguments(trainer)
    if isinstance(init := composed.get("init"), Mapping):
        raise AeframeError(
            f"init expects the path of a run or a saved model, found the settings {', '.join(map(str, init))}; write "
            "init=RUN, and init_parts=[encoder] to select parts"
        )
    groups = _mapping("optimizers", composed.get("optimizers"))
    for label, group in groups.items():
        known = [field.name for field in dataclasses.fields(OptimizerGroupSettings)]
        _check_keys(f"optimizers.{label}", _mapping(f"optimizers.{label}", group), known)
    trainer_settings = {name: value for name, value in trainer.items() if name in setting_names()}
    # null means no entries.
    emptied: dict[str, Any] = {key: {} for key in LABELLED if key in composed and composed[key] is None}
    try:
        settings = dataclasses.asdict(
            _run_settings().validate_python(
                {**composed, **emptied, "trainer": trainer_settings, "optimizers": dict(groups)}
            )
        )
    except pydantic.ValidationError as error:
        raise AeframeError(_setting_error(error)) from None
    settings["trainer"] |= lightning_arguments
    settings["checkpoint_every"] = interval("checkpoint_every", settings["checkpoint_every"])
    _check_trainer(settings["trainer"])
    return settings


@functools.cache
def _run_settings() -> pydantic.TypeAdapter[RunSettings]:
    """Return the validator of the settings; making it takes as long as the rest of a validation."""
    return pydantic.TypeAdapter(RunSettings)


def _setting_error(error: pydantic.ValidationError) -> str:
    """Return the message for the first setting of another type, or outside its range."""
    errors = error.errors()
    path = [str(name) for name in errors[0]["loc"]]
    # Behind the setting's name, pydantic's path has names of members of a union, which are cut off.
    length = {"trainer": 2, "optimizers": 3}.get(path[0], 1)
    path, value = path[:length], errors[0]["input"]
    settings: Any = {"trainer": TrainerSettings, "optimizers": OptimizerGroupSettings}.get(path[0], RunSettings)
    key = ".".join(path)
    of_setting = [details for details in errors if [str(name) for name in details["loc"]][:length] == path]
    if any(details["type"] in _OUT_OF_RANGE for details in of_setting):
        allowed = _range(get_type_hints(settings, include_extras=True)[path[-1]])
        return f"setting '{key}' must {allowed}, found {value}; set {key} to such a number"
    annotation = get_type_hints(settings).get(path[-1], "a value")
    # A union has one reason for each of its members; none of them alone is right.
    reason = f" ({errors[0]['msg']})" if len(of_setting) == 1 else ""
    hint = quoting_hint(errors[0]["type"], value)
    return f"setting '{key}' expects {readable(annotation)}, found {value!r}{reason}{hint}"


def _range(annotation: Any) -> str:
    """Return the range in a setting's annotation, such as "be at least 1" or "lie between 0 and 1, exclusive"."""
    bounds: dict[str, float] = {}
    pending = [annotation]
    while pending:
        item = pending.pop()
        pending += [*get_args(item), *getattr(item, "metadata", ())]
        bounds |= {name: getattr(item, name) for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
    low, high = bounds.get("ge", bounds.get("gt", 0)), bounds.get("le", bounds.get("lt"))
    if high is None:
        return f"be above {low:.10g}" if "gt" in bounds else f"be at least {low:.10g}"
    return f"lie between {low:.10g} and {high:.10g}{', exclusive' * ('gt' in bounds)}"


def _check_keys(key: str, settings: Mapping[str, Any], known: list[str]) -> None:
    for name in settings:
        if name not in known:
            raise AeframeError(
                f"{key} has no setting '{name}'{did_you_mean(name, known)}; its settings are {', '.join(known)}"
            )


def _mapping(key: str, value: Any) -> Mapping[str, Any]:
    """Return a mapping, ``{}`` for null; raise an error for anything else."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise AeframeError(f"{key} expects settings by name, found {value!r}; write {key}.NAME=VALUE")
    return value


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    """Raise an error for a precision, accelerator, number of devices or strategy that a run cannot use."""
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
    if trainer["devices"] is not None:
        check_devices(trainer["devices"])
    check_strategy(trainer["strategy"])


def interval(setting: str, value: int | str | None) -> int | str | None:
    """Return an interval of checkpoints: a number of batches, or a time such as ``90s``, ``10min`` or ``2h``.

    Raises:
        AeframeError: A string of another form, or an interval that is not positive.
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
    """Return the seconds of a time that `interval` accepts, such as 600.0 for ``10min``."""
    match = _TIME.fullmatch(value.strip())
    assert match is not None
    return float(match.group(1)) * _SECONDS[match.group(2)]
