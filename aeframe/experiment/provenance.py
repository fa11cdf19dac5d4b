"""Find the sources of a value in a composed run; of several sources the last one sets it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.default_element import GroupDefault
from hydra.core.override_parser.types import Override, QuotedString
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.compose import overrides_of, resolve
from aeframe.experiment.composition.loader import CONFIG, Loader
from aeframe.experiment.composition.option_files import file_groups, place_of
from aeframe.experiment.composition.sources import SETTINGS
from aeframe.factory import defaults
from aeframe.kinds import BY_KEY, GROUPS, LABELLED, LOGGER
from aeframe.registry import registry

_SCHEMA = "aeframe.experiment.schema:RunSettings"


@dataclass(frozen=True, slots=True)
class ValueSource:
    """One source of a key's value: a signature, an option file, or an override."""

    value: Any
    place: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """The value of one key of a composed run, and its sources."""

    value: Any
    sources: list[ValueSource]
    """In order of precedence, the lowest first; the last one set the value."""
    part: tuple[str, str] | None
    """Kind and name of the part whose option it is."""
    options: list[str] | None
    """The names that can be chosen, for a key that is a choice among names."""


class _RecordingLoader(Loader):
    """A loader that records the overrides of a composition, including those that it added."""

    recorded: Sequence[str] = ()

    def _load_configuration_impl(
        self, config_name: str | None, overrides: list[str], *rest: Any, **named: Any
    ) -> DictConfig:
        self.recorded = list(overrides)
        config: DictConfig = super()._load_configuration_impl(config_name, overrides, *rest, **named)
        return config


def why(key: str, overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> Provenance:
    """Return the value of `key` in the run that `overrides` compose, and its sources.

    Args:
        key: A setting (``seed``), a part (``loss``) or an option (``latent.dim``).
        overrides: As in `aeframe.experiment.compose.compose`.
        config_dir: The user's own options; by default ``./configs``, if present.

    Raises:
        AeframeError: The run cannot be composed, or has no such key.
    """
    loader = _RecordingLoader(config_dir)
    composed = loader.load_configuration(CONFIG, list(overrides), RunMode.RUN)
    config = resolve(composed, overrides_of(composed.hydra), loader)
    key = key.removesuffix(".name") if key.removesuffix(".name") in (*GROUPS, "model") else key
    files = file_groups(loader)
    if key in (*GROUPS, LOGGER, *files):
        found = _choice(loader, key, list(overrides))
        # Several loggers may be chosen.
        return replace(found, value=", ".join(config[LOGGER]) or None) if key == LOGGER else found
    if (value := _find(config, key)) is _ABSENT:
        known = [*(path for path, _ in _paths(config)), *files]
        raise AeframeError(
            f"a run has no '{key}'{did_you_mean(key, known)}; 'aeframe config show' prints all that it has"
        )
    part = _part(config, key)
    sources = list(_values(loader, key, part))
    if config["resume"] is not None and (not sources or sources[-1].value != value):
        sources.append(ValueSource(value, f"the stored config of run '{config['resume']}'"))
    return Provenance(value, sources, part, None)


# -- a choice among names --------------------------------------------------------------------------------------------


def _choice(loader: _RecordingLoader, group: str, typed: list[str]) -> Provenance:
    found = loader.compute_defaults_list(CONFIG, list(loader.recorded), RunMode.RUN).overrides
    name = found.known_choices.get(group)
    sources = [ValueSource(value, _place(loader, CONFIG)) for value in _first_choice(loader, group)]
    by = found.override_metadata.get(group)
    if by is not None and by.external_override:
        own = [line for line in typed if line.partition("=")[0] == group]
        implied = f"the default data of modality '{found.known_choices.get('modality')}'"
        sources.append(ValueSource(name, f"the command line: {own[-1]}" if own else implied))
    elif by is not None and by.containing_config_path not in (None, CONFIG):
        sources.append(ValueSource(name, _place(loader, str(by.containing_config_path))))
    return Provenance(name, sources, None, loader.get_group_options(group))


def _first_choice(loader: Loader, group: str) -> Iterator[str | None]:
    """Yield the choice of ``train.yaml`` for a group, if it has one."""
    train = loader.read(CONFIG)
    for each in (train.defaults_list if train is not None else None) or []:
        if isinstance(each, GroupDefault) and each.group == group and not isinstance(each.value, list):
            yield each.value


# -- a value ---------------------------------------------------------------------------------------------------------


def _values(loader: _RecordingLoader, key: str, part: tuple[str, str] | None) -> Iterator[ValueSource]:
    if part is not None:
        option = key.rpartition(".")[2]
        whole = defaults(*part)
        if option in whole:
            yield ValueSource(whole[option], f"the signature of {part[0]} '{part[1]}' ({_target(part)})")
    composed = loader.compute_defaults_list(CONFIG, list(loader.recorded), RunMode.RUN)
    for default in composed.defaults:
        path, package = str(default.config_path), default.package or ""
        if path.startswith("hydra/") or not f"{key}.".startswith(f"{package}." if package else ""):
            continue
        found = loader.read(path)
        if found is None or (found.path.startswith("registry://") and path != SETTINGS):
            continue
        content: Any = OmegaConf.to_container(found.config, resolve=False)
        value = _find(content, key.removeprefix(f"{package}.") if package else key)
        if value is not _ABSENT:
            yield ValueSource(value, _place(loader, path))
    yield from _typed(composed.config_overrides, key)


def _typed(overrides: Sequence[Override], key: str) -> Iterator[ValueSource]:
    for each in overrides:
        line = str(each.input_line).removeprefix("++")
        inside = f"{key}.".startswith(f"{each.key_or_group}.")
        if inside and each.is_delete():
            yield ValueSource(None, f"the command line removes it: {line}")
        elif inside:
            value = _find({each.key_or_group: _plain(each.value())}, key, whole=str(each.key_or_group))
            if value is not _ABSENT:
                yield ValueSource(value, f"the command line: {line}")
        elif str(each.key_or_group).startswith(f"{key}."):
            yield ValueSource(_plain(each.value()), f"the command line, in part: {line}")


def _place(loader: Loader, path: str) -> str:
    """Return the name of a config for messages."""
    if path == SETTINGS:
        return f"the default of the setting ({_SCHEMA})"
    found = loader.read(path)
    group, _, name = path.rpartition("/")
    if found is None or not found.path.startswith("registry://"):
        file = path if found is None else place_of(found, path)
        return f"{group}={name} ({file})" if group else file
    kind = BY_KEY[group].name
    return f"{kind} '{name}' ({_target((kind, name))})"


def _target(part: tuple[str, str]) -> str:
    return registry().entry(*part).target


def _part(config: Mapping[str, Any], key: str) -> tuple[str, str] | None:
    """Return the part whose option `key` is: ``latent.dim``, ``penalties.l1.weight``."""
    first, *rest = key.split(".")
    if first in GROUPS and rest and config[first] is not None:
        return BY_KEY[first].name, str(config[first]["name"])
    if first in LABELLED and len(rest) > 1 and "name" in (config[first].get(rest[0]) or {}):
        return LABELLED[first].name, str(config[first][rest[0]]["name"])
    return None


# -- dotted keys -----------------------------------------------------------------------------------------------------

_ABSENT = object()


def _find(config: Any, key: str, *, whole: str | None = None) -> Any:
    """Return the value at a dotted key; `whole` is a prefix that is a single key in `config`."""
    rest = key.split(".")
    if whole is not None:
        config, rest = config[whole], rest[whole.count(".") + 1 :]
    for name in rest:
        if not isinstance(config, Mapping) or name not in config:
            return _ABSENT
        config = config[name]
    return config


def _paths(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{name}.")


def _plain(value: Any) -> Any:
    """Return an override's value without Hydra's objects for quoted strings."""
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.text if isinstance(value, QuotedString) else value
