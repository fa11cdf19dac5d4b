"""`SearchSpace`: the settings that a search varies, read from a YAML file or a mapping. Optuna is not imported here.

```yaml
latent.dim: {low: 2, high: 64, log: true}
objective.beta: {low: 0.1, high: 10, log: true}
encoder.hidden: [[64], [256, 128]]
model: [vae, beta_vae]
```
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError, did_you_mean
from aeframe.plain_files import read_mapping

_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*", re.ASCII)
# YAML 1.1 reads numbers such as 1e-4, which have no point, as text.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_RANGE_KEYS = ("low", "high", "log", "step")
_FIXED = {
    "folder": "each trial has a folder of its own, below root",
    "root": "all trials of a study are in one folder",
    "resume": "each trial is a new run",
    "monitor": "all trials are compared by one metric",
    "monitor_mode": "all trials are compared in one direction",
}
"""Settings that a search cannot vary, and why."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; whole numbers if `low`, `high` and `step` are."""

    low: float
    high: float
    log: bool = False
    """Whether equal ratios are equally likely, instead of equal differences."""
    step: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are in the range."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step) if number is not None)

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        step = self.step if self.step is not None else 1 if self.is_whole else None
        return step is None or (_exact(value) - _exact(self.low)) % _exact(step) == 0


@dataclass(frozen=True, slots=True)
class Choices:
    """A list of values: numbers, texts, true, false, null, lists or mappings."""

    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[Any, ...]:
        """The values as Optuna stores them: lists and mappings as JSON."""
        return tuple(_label(value) for value in self.values)

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def value_of(self, label: Any) -> Any:
        """Return the value with a label."""
        return self.values[self.labels.index(label)]


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The settings that a search varies: a range or choices by dotted key."""

    settings: Mapping[str, Range | Choices]

    def point(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a point, by key, from the parameters of an Optuna trial."""
        return {
            key: varied.value_of(params[key]) if isinstance(varied, Choices) else params[key]
            for key, varied in self.settings.items()
        }

    def params(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of an Optuna trial for the settings of a point."""
        return {
            key: _label(value) if isinstance(self.settings[key], Choices) else value for key, value in point.items()
        }

    def corners(self) -> list[dict[str, Any]]:
        """Return points that have every choice and both ends of every range once, and else the first value."""
        ends = {
            key: list(varied.values) if isinstance(varied, Choices) else [varied.low, varied.high]
            for key, varied in self.settings.items()
        }
        first = {key: values[0] for key, values in ends.items()}
        return [first, *({**first, key: value} for key, values in ends.items() for value in values[1:])]

    def as_dict(self) -> dict[str, Any]:
        """Return the space as plain values, from which `read_space` makes an equal one."""
        return {
            key: list(varied.values)
            if isinstance(varied, Choices)
            else {name: value for name, value in asdict(varied).items() if value is not None and value is not False}
            for key, varied in self.settings.items()
        }


def read_space(source: str | Path | Mapping[str, Any]) -> SearchSpace:
    """Return the search space in a YAML file, or in a mapping of the same form.

    Args:
        source: Dotted keys of settings, each with ``{low, high, log, step}`` or a list of choices.

    Raises:
        AeframeError: The file cannot be read, or an entry has another form.
    """
    if isinstance(source, Mapping):
        who, entries = "search space", source
    else:
        path = Path(source)
        if not path.is_file():
            names = [file.name for file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
            raise AeframeError(
                f"there is no search space '{path}'{did_you_mean(path.name, names)}; write a YAML file such as "
                "latent.dim: {low: 2, high: 32}"
            )
        who, entries = f"search space '{path}'", read_mapping(path)
    if not entries:
        raise AeframeError(f"{who} is empty; write at least one setting, such as latent.dim: {{low: 2, high: 32}}")
    return SearchSpace({str(key): _varied(f"{who}: {key}", str(key), entry) for key, entry in entries.items()})


def _varied(who: str, key: str, entry: Any) -> Range | Choices:
    if not _KEY.fullmatch(key):
        raise AeframeError(f"{who} is not the key of a setting; write a dotted key such as latent.dim")
    if key in _FIXED:
        raise AeframeError(f"{who} cannot be searched, since {_FIXED[key]}; leave it out")
    if isinstance(entry, list | tuple):
        return _choices(who, [_number_or_same(value) for value in entry])
    if isinstance(entry, Mapping):
        return _range(who, key, entry)
    raise AeframeError(
        f"{who} expects {{low: ..., high: ...}} or a list of choices, found {entry!r}; set a single value on the "
        f"command line: {key}=..."
    )


def _choices(who: str, values: list[Any]) -> Choices:
    if len(values) < 2:
        raise AeframeError(f"{who} expects a list of at least two choices, found {values!r}; add one, or leave it out")
    for index, value in enumerate(values):
        if not _is_plain(value):
            raise AeframeError(
                f"{who} has the choice {value!r}, expected finite numbers, texts, true, false, null, and lists or "
                "mappings of these; replace it"
            )
        if _label(value) in [_label(previous) for previous in values[:index]]:
            raise AeframeError(f"{who} has the choice {value!r} twice; remove one")
    return Choices(tuple(values))


def _range(who: str, key: str, entry: Mapping[str, Any]) -> Range:
    if "low" not in entry and "high" not in entry:
        inner = next((name for name in entry if isinstance(name, str)), "dim")
        raise AeframeError(
            f"{who} expects low and high, found {', '.join(map(str, entry)) or 'nothing'}; write nested settings with "
            f"dotted keys: {key}.{inner}"
        )
    unknown = next((name for name in entry if name not in _RANGE_KEYS), None)
    if unknown is not None:
        raise AeframeError(
            f"{who} has no '{unknown}'{did_you_mean(str(unknown), _RANGE_KEYS)}; a range has {', '.join(_RANGE_KEYS)}"
        )
    numbers = {name: _number_or_same(entry.get(name)) for name in ("low", "high", "step")}
    for name, value in numbers.items():
        if name == "step" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise AeframeError(f"{who} expects a finite number for {name}, found {value!r}; write {name}: NUMBER")
    low, high, step, log = numbers["low"], numbers["high"], numbers["step"], entry.get("log", False)
    if not isinstance(log, bool):
        raise AeframeError(f"{who} expects true or false for log, found {log!r}; write log: true")
    if not low < high:
        raise AeframeError(f"{who} expects low below high, found low {low} and high {high}; exchange or correct them")
    if log and low <= 0:
        raise AeframeError(f"{who} expects a positive low with log, found {low}; raise low, or leave out log")
    if log and step is not None:
        raise AeframeError(f"{who} has both log and step, which exclude each other; leave one out")
    if step is not None:
        if step <= 0 or step > high - low:
            raise AeframeError(
                f"{who} expects a step above 0 and at most high - low = {high - low:g}, found {step}; correct it"
            )
        if (_exact(high) - _exact(low)) % _exact(step) != 0:
            nearest = _exact(low) + (_exact(high) - _exact(low)) // _exact(step) * _exact(step)
            raise AeframeError(
                f"{who} has no whole number of steps of {step} from {low} to {high}; write high: {float(nearest):g}"
            )
    return Range(low, high, log, step)


def _number_or_same(value: Any) -> Any:
    """Return a text such as ``1e-4`` as a number, and any other value as it is."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool | int)


def _label(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple | Mapping) else value


def _exact(number: float) -> Fraction:
    """Return the number that is written, such as 1/10 for 0.1."""
    return Fraction(Decimal(str(number)))
