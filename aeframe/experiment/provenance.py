"""Find the sources of a config value, of which the last sets the value.

Sources are the signature of a part's constructor, option files (YAML files such as the recipe ``model/vae.yaml``) and
overrides of the command line. A part is one named component of a run, such as the loss ``mse``, its kind ``loss``.
"""

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
from aeframe.experiment.dotted_keys import ABSENT, get_value
from aeframe.experiment.resume import AUTO
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
    """The value of one key of a composed config, and its sources."""

    value: Any
    sources: list[ValueSource]
    """In order of precedence, the lowest first; the last one sets the value."""
    part: tuple[str, str] | None
    """Kind and name of the part, for a key that is an option of a part."""
    options: list[str] | None
    """The names of the group, for a key that is a config group."""


class _RecordingLoader(Loader):
    """A loader that records the overrides of its last composition, including those that the loader added."""

    recorded: Sequence[str] = ()

    def _composed(
        self, config_name: str | None, overrides: Sequence[Override], *args: Any, **kwargs: Any
    ) -> DictConfig:
        self.recorded = [str(override.input_line) for override in overrides]
        return super()._composed(config_name, overrides, *args, **kwargs)


def why(key: str, overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> Provenance:
    """Return the value of `key` in the config composed from `overrides`, and its sources.

    Args:
        key: A setting (``seed``), a config group (``loss``) or an option of a part (``latent.dim``).
        overrides: As in `aeframe.experiment.compose.compose`.
        config_dir: The folder of the user's own option files; by default ``./configs``, if present.

    Raises:
        AeframeError: The config cannot be composed, or has no such key.
    """
    loader = _RecordingLoader(config_dir)
    composed = loader.load_configuration(CONFIG, list(overrides), RunMode.RUN)
    config = resolve(composed, overrides_of(composed.hydra), loader)
    key = key.removesuffix(".name") if key.removesuffix(".name") in (*GROUPS, "model") else key
    files = file_groups(loader)
    if key in (*GROUPS, LOGGER, *files):
        choice = _choice(loader, key, list(overrides))
        # Several loggers may be chosen.
        return replace(choice, value=", ".join(config[LOGGER]) or None) if key == LOGGER else choice
    if (value := get_value(config, key)) is ABSENT:
        known = [*(path for path, _ in _paths(config)), *files]
        raise AeframeError(
            f"a run has no '{key}'{did_you_mean(key, known)}; 'aeframe config show' prints all that it has"
        )
    part = _part(config, key)
    sources = list(_sources(loader, key, part))
    if config["resume"] not in (None, False, AUTO) and (not sources or sources[-1].value != value):
        sources.append(ValueSource(value, f"the stored config of run '{config['resume']}'"))
    return Provenance(value, sources, part, None)


# -- the choice of a config group ------------------------------------------------------------------------------------


def _choice(loader: _RecordingLoader, group: str, overrides: list[str]) -> Provenance:
    """Return the name that is chosen in a config group, and where it is chosen."""
    defaults_list = loader.compute_defaults_list(CONFIG, list(loader.recorded), RunMode.RUN)
    composed = defaults_list.overrides
    name = composed.known_choices.get(group)
    sources = [ValueSource(value, _place(loader, CONFIG)) for value in _default_choice(loader, group)]
    # The files are in the order of precedence: modality, data, recipe, experiment.
    for path in dict.fromkeys(str(default.config_path) for default in defaults_list.defaults):
        sources += [ValueSource(value, _place(loader, path)) for value in _overridden_choice(loader, path, group)]
    metadata = composed.override_metadata.get(group)
    if metadata is not None and metadata.external_override:
        of_group = [override for override in overrides if override.partition("=")[0] == group]
        of_modality = f"of modality '{composed.known_choices.get('modality')}'"
        implied = f"the default data {of_modality}" if group == "data" else f"the substitute {of_modality}"
        sources.append(ValueSource(name, f"the command line: {of_group[-1]}" if of_group else implied))
    return Provenance(name, sources, None, loader.get_group_options(group))


def _default_choice(loader: Loader, group: str) -> Iterator[str | None]:
    """Yield the choice of ``train.yaml`` for a group, if it has one."""
    train = loader.read(CONFIG)
    for default in (train.defaults_list if train is not None else None) or []:
        if isinstance(default, GroupDefault) and default.group == group and not isinstance(default.value, list):
            yield default.value


def _overridden_choice(loader: Loader, path: str, group: str) -> Iterator[str | None]:
    """Yield the choice for a group with which a file overrides that of earlier ones, if it has one."""
    file = loader.read(path) if path != CONFIG and not path.startswith("hydra/") else None
    for default in (file.defaults_list if file is not None else None) or []:
        if isinstance(default, GroupDefault) and default.override and str(default.group).lstrip("/") == group:
            yield None if isinstance(default.value, list) else default.value


# -- the value of a setting or an option -----------------------------------------------------------------------------


def _sources(loader: _RecordingLoader, key: str, part: tuple[str, str] | None) -> Iterator[ValueSource]:
    """Yield the sources of the value at `key`, in order of precedence; `part` is kind and name of its part, if any."""
    if part is not None:
        option = key.rpartition(".")[2]
        options = defaults(*part)
        if option in options:
            yield ValueSource(options[option], f"the signature of {part[0]} '{part[1]}' ({_target(part)})")
    composed = loader.compute_defaults_list(CONFIG, list(loader.recorded), RunMode.RUN)
    for default in composed.defaults:
        # The package of Hydra: the dotted key below which the content of the file is merged.
        path, package = str(default.config_path), default.package or ""
        if path.startswith("hydra/") or not f"{key}.".startswith(f"{package}." if package else ""):
            continue
        option_config = loader.read(path)
        if option_config is None or (option_config.path.startswith("registry://") and path != SETTINGS):
            continue
        content: Any = OmegaConf.to_container(option_config.config, resolve=False)
        value = get_value(content, key.removeprefix(f"{package}.") if package else key)
        if value is not ABSENT:
            yield ValueSource(value, _place(loader, path))
    yield from _override_sources(composed.config_overrides, key)


def _override_sources(overrides: Sequence[Override], key: str) -> Iterator[ValueSource]:
    """Yield the overrides that set the value at `key`, or one inside of it."""
    for override in overrides:
        line = str(override.input_line).removeprefix("++")
        overridden = str(override.key_or_group)
        if f"{key}.".startswith(f"{overridden}."):
            if override.is_delete():
                yield ValueSource(None, f"the command line removes it: {line}")
                continue
            value = _plain(override.value())
            if key != overridden:
                value = get_value(value, key.removeprefix(f"{overridden}."))
            if value is not ABSENT:
                yield ValueSource(value, f"the command line: {line}")
        elif overridden.startswith(f"{key}."):
            yield ValueSource(_plain(override.value()), f"the command line, in part: {line}")


def _place(loader: Loader, path: str) -> str:
    """Return the location of a config, for messages."""
    if path == SETTINGS:
        return f"the default of the setting ({_SCHEMA})"
    option_config = loader.read(path)
    group, _, name = path.rpartition("/")
    if option_config is None or not option_config.path.startswith("registry://"):
        file = path if option_config is None else place_of(option_config, path)
        return f"{group}={name} ({file})" if group else file
    kind = BY_KEY[group].name
    return f"{kind} '{name}' ({_target((kind, name))})"


def _target(part: tuple[str, str]) -> str:
    """Return the ``module:Class`` of a part, given by kind and name."""
    return registry().entry(*part).target


def _part(config: Mapping[str, Any], key: str) -> tuple[str, str] | None:
    """Return kind and name of the part that has the option `key`, such as ``penalties.l1.weight``."""
    first, *rest = key.split(".")
    if first in GROUPS and rest and config[first] is not None:
        return BY_KEY[first].name, str(config[first]["name"])
    if first in LABELLED and len(rest) > 1 and "name" in (config[first].get(rest[0]) or {}):
        return LABELLED[first].name, str(config[first][rest[0]]["name"])
    return None


def _paths(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all dotted keys with their values, also those of mappings."""
    for name, value in config.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{name}.")


def _plain(value: Any) -> Any:
    """Return the value of an override in plain values: its quoted strings are objects of Hydra."""
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.text if isinstance(value, QuotedString) else value
