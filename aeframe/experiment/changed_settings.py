"""Find the settings of a stored config that differ from those of its recipe and of the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.types import RunMode

from aeframe.errors import AeframeError
from aeframe.experiment.composition.loader import CONFIG, Loader, task_config
from aeframe.experiment.data_sized import CHOSEN
from aeframe.experiment.validation import validated
from aeframe.kinds import GROUPS
from aeframe.runs.comparison import flat_settings
from aeframe.runs.report import SettingChange

_MISSING = "???"
"""A value that a run has to set."""


def changed_settings(config: Mapping[str, Any], overrides: Sequence[str] = ()) -> list[SettingChange] | None:
    """Return the settings of a run that differ from its recipe and the package, or None if these are not available.

    A part that differs, such as another loss, is one change; its options are compared with its own defaults.

    Args:
        config: The config of the run, as `RunFolder.read_config` returns it.
        overrides: The overrides of the run, which show whether settings such as ``batch_size`` were set or chosen from
            the data.
    """
    recipe = config["model"]["name"]
    chosen = [f"{group}={config[group]['name']}" for group in ("modality", "data")]
    if recipe != "custom":
        chosen.append(f"model={recipe}")
    try:
        default = _composed(chosen, config)
        others = [
            f"{group}={config[group]['name']}"
            for group in GROUPS
            if group in config and default[group]["name"] != config[group]["name"]
        ]
        default_options = dict(flat_settings(_composed([*chosen, *others], config)))
    except AeframeError:
        # A recipe of a plugin or of a file that is not here.
        return None
    names = {group: str(default[group]["name"]) for group in GROUPS}
    changes = []
    for key, value in flat_settings(config):
        expected = names.get(key, default_options.get(key, ""))
        is_set = any(override.startswith((f"{key}=", "experiment=")) for override in overrides)
        if value != expected and (key not in CHOSEN or expected != "None" or is_set):
            changes.append(SettingChange(key, value, "" if expected == _MISSING else expected))
    return changes


def _composed(overrides: list[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of `overrides`; values that a run has to set stay ``???`` in the parts that have them."""
    composed = task_config(Loader().load_configuration(CONFIG, overrides, RunMode.RUN))
    missing = [
        (group, option)
        for group in GROUPS
        if isinstance(part := composed.get(group), Mapping)
        for option, value in part.items()
        if value == _MISSING
    ]
    for group, option in missing:
        composed[group][option] = config[group].get(option)
    complete = validated(composed)
    for group, option in missing:
        complete[group][option] = _MISSING
    return complete
