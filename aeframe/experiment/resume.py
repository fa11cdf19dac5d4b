"""Compose the config of a resumed run: its stored config, with those settings of the command that may change."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from aeframe.errors import AeframeError
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.composition.option_files import file_groups, option_file
from aeframe.factory import path_options
from aeframe.kinds import BY_KEY, GROUPS, LOGGER
from aeframe.registry import registry
from aeframe.runs.folder import RunFolder

MAY_CHANGE = (
    "max_epochs",
    "max_batches",
    "patience",
    "log_every",
    "steps_per_call",
    "workers",
    "trainer",
    "metrics",
    "callbacks",
    "logger",
    "pictures",
    "progress",
    "checkpoint_every",
    "stretch_schedules",
)
"""Settings that a resumed run may change."""
AUTO = "auto"
"""The value of `resume` that resumes the run in `folder`, or starts it if there is no checkpoint."""
_PLACES = ("root", "folder", "resume")
_ABSENT = object()


def with_changes(
    stored: Mapping[str, Any], composed: Mapping[str, Any], overrides: Sequence[str], loader: Loader
) -> dict[str, Any]:
    """Return the stored config of a run with the settings of the command that may change; not validated.

    The stored config is plain: a string with ``${`` in it stays that string.

    Args:
        stored: The config of the run.
        composed: The config that Hydra composed, in plain values.
        overrides: The overrides it was composed from, in Hydra's grammar.
        loader: The loader that composed it.

    Raises:
        AeframeError: A change of a setting that resume cannot change.
    """
    changed = copy.deepcopy(dict(stored))
    for key in dict.fromkeys(_set_by_user(overrides, loader)):
        value = _get(composed, key)
        if key == LOGGER:
            # A choice of loggers replaces those of the run.
            changed[LOGGER] = copy.deepcopy(value)
        elif _may_change(key, stored):
            _put(changed, key, value)
        elif not _same(value, _get(stored, key)):
            raise AeframeError(
                f"resume cannot change '{key.partition('.')[0]}'; it can change {_listed(stored)}; start a new run for "
                "anything else"
            )
    return changed


def check_unchanged(config: Mapping[str, Any], stored: Mapping[str, Any], folder: RunFolder) -> None:
    """Check that the config of a ``resume=auto`` command is that of the run in its folder.

    Raises:
        AeframeError: A setting that differs and that resume cannot change.
    """
    for key, value in _leaves(config, stored):
        before = _get(stored, key)
        if key.partition(".")[0] not in _PLACES and not _may_change(key, stored) and not _same(value, before):
            raise AeframeError(
                f"resume=auto found run '{folder.path}' with {key}={_shown(before)}, but this command has "
                f"{key}={_shown(value)}; set it as it was, or choose another folder (resume can change "
                f"{_listed(stored)})"
            )


# -- settings that may change ----------------------------------------------------------------------------------------


def _may_change(key: str, stored: Mapping[str, Any]) -> bool:
    return key.partition(".")[0] in MAY_CHANGE or key in _paths_of_data(stored)


def _paths_of_data(stored: Mapping[str, Any]) -> list[str]:
    """Return the options of the dataset that are paths: they may differ on another machine."""
    return [f"data.{name}" for name in path_options("dataset", stored["data"]["name"])]


def _listed(stored: Mapping[str, Any]) -> str:
    return ", ".join([*MAY_CHANGE, *_paths_of_data(stored)])


# -- settings of the command -----------------------------------------------------------------------------------------


def _set_by_user(overrides: Sequence[str], loader: Loader) -> Iterator[str]:
    """Yield the dotted keys that overrides set, including those of chosen option files."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = str(override.key_or_group).replace("/", ".")
        if override.is_hydra_override() or key == "resume":
            continue
        value = override.value()
        if override.package is None and loader.is_group(str(override.key_or_group)):
            for name in value if isinstance(value, list) else [value]:
                yield from _chosen(str(override.key_or_group), None if name is None else str(name), loader)
        else:
            yield key


def _chosen(group: str, name: str | None, loader: Loader) -> Iterator[str]:
    """Yield the dotted keys that a choice sets: the name of the part, or the keys of an option file."""
    if group in (*GROUPS, "model"):
        yield f"{group}.name"
        # A user's option file may set options of the part.
        if group in GROUPS and name is not None and not registry().has(BY_KEY[group].name, name):
            yield from _of_file(group, name, loader)
    elif group == LOGGER or name is None:
        yield group
    elif group in file_groups(loader):
        yield from _of_file(group, name, loader)


def _of_file(group: str, name: str, loader: Loader) -> Iterator[str]:
    found = option_file(loader, group, name)
    for chosen, option in found.choices.items():
        yield from _chosen(chosen, option, loader)
    yield from (key for key in found.keys if key != "resume")


# -- dotted keys -----------------------------------------------------------------------------------------------------


def _get(config: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(config, Mapping) or name not in config:
            return _ABSENT
        config = config[name]
    return config


def _put(config: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        if not isinstance(config.get(name), dict):
            config[name] = {}
        config = config[name]
    if value is _ABSENT:
        config.pop(last, None)
    elif isinstance(value, Mapping) and isinstance(config.get(last), dict):
        config[last] = {**config[last], **value}
    else:
        config[last] = copy.deepcopy(value)


def _leaves(*configs: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of all configs, with their values in the first one, or `_ABSENT`."""
    for name in dict.fromkeys(key for config in configs for key in config):
        values = [config.get(name, _ABSENT) for config in configs]
        if all(isinstance(value, Mapping) and value for value in values):
            yield from _leaves(*values, prefix=f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", values[0]


def _same(one: Any, other: Any) -> bool:
    """Return whether a composed value equals the stored one; a stored part may have more options, its defaults."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_same(value, other.get(name, _ABSENT)) for name, value in one.items())
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    return bool(one == other)


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else "null" if value is None else str(value)
