"""Update the stored config of a resumed run with the overrides of the command that resume can change."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from aeframe.errors import AeframeError
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.composition.option_files import file_groups, option_file
from aeframe.experiment.data_sized import is_left_out
from aeframe.experiment.dotted_keys import ABSENT, get_value, set_value
from aeframe.experiment.warm_start import with_absolute_init
from aeframe.factory import path_options
from aeframe.kinds import BY_KEY, GROUPS, LOGGER
from aeframe.registry import registry
from aeframe.runs.folder import RunFolder

MAY_CHANGE = (
    "max_epochs",
    "max_batches",
    "max_hours",
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
    "profile",
    "packed",
    "checkpoint_every",
    "stretch_schedules",
)
"""Settings that resume can change; of a mapping such as ``trainer``, all keys below it."""
AUTO = "auto"
"""The value of ``resume`` that resumes the run in ``folder``, or starts it if there is no checkpoint."""
_FOLDER_SETTINGS = ("root", "folder", "resume")


def with_changes(
    stored: Mapping[str, Any], composed: Mapping[str, Any], overrides: Sequence[str], loader: Loader
) -> dict[str, Any]:
    """Return the stored config of a run, updated with the settings of the command that may change; not validated.

    Interpolations of the stored config were resolved when it was written: a ``${`` in it is literal.

    Args:
        stored: The config of the run.
        composed: The config that Hydra composed for the command, in plain values.
        overrides: The overrides it was composed from, in Hydra's grammar.
        loader: The loader that composed it.

    Raises:
        AeframeError: An override of a setting that resume cannot change.
    """
    updated = copy.deepcopy(dict(stored))
    for key in dict.fromkeys(overridden_keys(overrides, loader)):
        value = get_value(with_absolute_init(composed), key)
        if key == LOGGER:
            # The loggers that the command chooses replace all loggers of the run.
            updated[LOGGER] = copy.deepcopy(value)
        elif _may_change(key, stored):
            set_value(updated, key, value)
        elif not _is_equal(value, get_value(stored, key)):
            raise AeframeError(
                f"resume cannot change '{key.partition('.')[0]}'; it can change {_listed(stored)}; start a new run for "
                "anything else"
            )
    return updated


def check_unchanged(config: Mapping[str, Any], stored: Mapping[str, Any], folder: RunFolder) -> None:
    """Check that the config of a ``resume=auto`` command equals that of the run in its folder.

    Raises:
        AeframeError: A setting differs that resume cannot change.
    """
    for key, value in _leaves(with_absolute_init(config), stored):
        stored_value = get_value(stored, key)
        if key.partition(".")[0] in _FOLDER_SETTINGS or _may_change(key, stored):
            continue
        if is_left_out(key, value):
            # The stored one was chosen by the run.
            continue
        if not _is_equal(value, stored_value):
            raise AeframeError(
                f"resume=auto found run '{folder.path}' with {key}={_shown(stored_value)}, but this command has "
                f"{key}={_shown(value)}; set it as it was, or choose another folder (resume can change "
                f"{_listed(stored)})"
            )


# -- settings that may change ----------------------------------------------------------------------------------------


def _may_change(key: str, stored: Mapping[str, Any]) -> bool:
    return key.partition(".")[0] in MAY_CHANGE or key in _data_paths(stored)


def _data_paths(stored: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of the dataset's options that are paths, which may differ on another machine."""
    return [f"data.{name}" for name in path_options("dataset", stored["data"]["name"])]


def _listed(stored: Mapping[str, Any]) -> str:
    return ", ".join([*MAY_CHANGE, *_data_paths(stored)])


# -- settings of the command -----------------------------------------------------------------------------------------


def overridden_keys(overrides: Sequence[str], loader: Loader) -> Iterator[str]:
    """Yield the dotted keys that overrides set, including those of the option files that they choose."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = str(override.key_or_group).replace("/", ".")
        if override.is_hydra_override() or key == "resume":
            continue
        value = override.value()
        # An override with a package of Hydra, as in ``loss@other=mse``, sets another key than that of the group.
        if override.package is None and loader.is_group(str(override.key_or_group)):
            for name in value if isinstance(value, list) else [value]:
                yield from _keys_of_choice(str(override.key_or_group), None if name is None else str(name), loader)
        else:
            yield key


def _keys_of_choice(group: str, name: str | None, loader: Loader) -> Iterator[str]:
    """Yield the dotted keys that ``GROUP=NAME`` sets: the part's name, or the keys in an option file."""
    if group in (*GROUPS, "model"):
        yield f"{group}.name"
        # A user's option file may set options of the part.
        if group in GROUPS and name is not None and not registry().has(BY_KEY[group].name, name):
            yield from _keys_of_option_file(group, name, loader)
    elif group == LOGGER or name is None:
        yield group
    elif group in file_groups(loader):
        yield from _keys_of_option_file(group, name, loader)


def _keys_of_option_file(group: str, name: str, loader: Loader) -> Iterator[str]:
    file = option_file(loader, group, name)
    for chosen_group, chosen_name in file.choices.items():
        yield from _keys_of_choice(chosen_group, chosen_name, loader)
    yield from (key for key in file.keys if key != "resume")


# -- comparison of configs -------------------------------------------------------------------------------------------


def _leaves(*configs: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each dotted key that a config has, with its value in the first config, or `ABSENT`.

    A mapping is split into its keys only where all configs have a mapping there.
    """
    for name in dict.fromkeys(key for config in configs for key in config):
        values = [config.get(name, ABSENT) for config in configs]
        if all(isinstance(value, Mapping) and value for value in values):
            yield from _leaves(*values, prefix=f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", values[0]


def _is_equal(composed: Any, stored: Any) -> bool:
    """Return whether a composed value equals the stored one; a stored part may have additional default options."""
    if isinstance(composed, Mapping) and isinstance(stored, Mapping):
        return all(_is_equal(value, stored.get(name, ABSENT)) for name, value in composed.items())
    if isinstance(composed, bool) is not isinstance(stored, bool):
        return False
    return bool(composed == stored)


def _shown(value: Any) -> str:
    return "nothing" if value is ABSENT else "null" if value is None else str(value)
