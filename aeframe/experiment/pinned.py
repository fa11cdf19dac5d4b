"""Repeat a run from its stored config (``aeframe-train --config RUN/config.yaml``), with or without changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from aeframe.errors import AeframeError
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.dotted_keys import get_value, set_value
from aeframe.experiment.resume import overridden_keys
from aeframe.kinds import GROUPS, LOGGER
from aeframe.plain_files import read_mapping, read_strings
from aeframe.plugin_files import named_files

_FLAG = "--config"
_FIXED = ("model", "modality", "experiment")
"""Groups that choose parts of others: a stored config has the parts themselves."""


@contextmanager
def pinned_run(argv: Sequence[str]) -> Iterator[tuple[dict[str, Any] | None, list[str]]]:
    """Yield the config that ``--config FILE`` names, None without it, and the other arguments.

    If an error is raised inside, a plugin file that the stored run used and the command does not name is added to it.

    Raises:
        AeframeError: The file cannot be read, or is not the config of a run.
    """
    file, others = _split(argv)
    if file is None:
        yield None, others
        return
    config = _read(file)
    try:
        yield config, others
    except AeframeError as error:
        missing = [path for path in _plugin_files(file) if path not in named_files()]
        if not missing or "unknown" not in str(error):
            raise
        raise AeframeError(f"{error}; the stored run used --plugin={missing[0]}, add it if you trust it") from error


def with_overrides(
    pinned: Mapping[str, Any], composed: Mapping[str, Any], overrides: Sequence[str], loader: Loader
) -> dict[str, Any]:
    """Return a stored config, updated with the settings that overrides set; not validated.

    A part that an override chooses replaces the stored one with all its options.

    Args:
        pinned: The stored config.
        composed: The config that Hydra composed from the parts of `pinned` and `overrides`, in plain values.
        overrides: In Hydra's grammar.
        loader: The loader that composed it.

    Raises:
        AeframeError: An override chooses a recipe, a modality or an experiment.
    """
    updated = copy.deepcopy(dict(pinned))
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.key_or_group in _FIXED:
            raise AeframeError(
                f"{_FLAG} has every part of a run, so {override.input_line} has no effect beside it; choose the parts "
                f"that differ (loss=..., latent=..., data=...), or leave {_FLAG} out"
            )
    # The folder and the run to resume belong to the command.
    updated |= {key: composed[key] for key in ("root", "folder", "resume")}
    for key in dict.fromkeys(overridden_keys(overrides, loader)):
        group = key.removesuffix(".name")
        if group in GROUPS or key == LOGGER:
            updated[group] = copy.deepcopy(get_value(composed, group))
        else:
            set_value(updated, key, get_value(composed, key))
    return updated


def _split(argv: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the file of ``--config``, and the other arguments."""
    file: Path | None = None
    others: list[str] = []
    remaining = iter(argv)
    for argument in remaining:
        if argument == _FLAG or argument.startswith(f"{_FLAG}="):
            value = argument.partition("=")[2] if "=" in argument else next(remaining, "")
            if file is not None:
                raise AeframeError(f"{_FLAG} names one stored config, found two; give one")
            file = Path(value, "config.yaml") if value and Path(value).is_dir() else Path(value)
            if not file.is_file():
                raise AeframeError(f"{_FLAG} expects the config.yaml of a run, found {value!r}; write the path of one")
        else:
            others.append(argument)
    return file, others


def _read(file: Path) -> dict[str, Any]:
    """Return a stored config for a new run, whose folder is made below ``root``."""
    config = read_mapping(file)
    absent = next((group for group in GROUPS if not isinstance(config.get(group), Mapping)), None)
    if absent is not None or any("name" not in config[group] for group in GROUPS):
        raise AeframeError(
            f"'{file}' is not the config of a run: it has no part '{absent or 'name'}'; use the config.yaml of a run "
            "folder, and experiment=NAME for an experiment file"
        )
    return {**config, "folder": None, "resume": None}


def _plugin_files(file: Path) -> list[str]:
    """Return the plugin files that a stored run was started with."""
    overrides = file.with_name("overrides.yaml")
    if not overrides.is_file():
        return []
    return [line.partition("=")[2] for line in read_strings(overrides) if line.startswith("--plugin=")]
