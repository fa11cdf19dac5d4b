"""Read option files: their location, head comment, chosen parts and values."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hydra.core.default_element import ConfigDefault, GroupDefault, InputDefault
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.dotted_keys import flat
from aeframe.kinds import GROUPS, LOGGER


@dataclass(frozen=True, slots=True)
class OptionFile:
    """One YAML file of options: a recipe, an experiment, or a part with a user's settings."""

    group: str
    name: str
    place: str
    """The path of the file, or ``package/path`` for a file of a package."""
    comment: str
    """The comment at the top of the file, without ``#``."""
    choices: dict[str, str | None]
    """The parts it chooses, by group."""
    values: dict[str, Any]
    """The values that it sets, with interpolations unresolved."""
    package: str
    """The dotted key of its values in the config; empty for the top level."""

    @property
    def keys(self) -> list[str]:
        """The dotted keys of a run's config that it sets; a part ``{name: ...}`` is one value."""
        return [f"{self.package}.{key}" if self.package else key for key, _ in flat(self.values)]

    @property
    def settings(self) -> dict[str, Any]:
        """The values that it sets, except its name, by dotted key; a part ``{name: ...}`` is one value."""
        name_keys = (self.group, f"{self.group}.name")
        return {key: value for key, value in flat(self.values) if key not in name_keys}


def core_recipes() -> list[str]:
    """Return the names of the recipes in core, sorted."""
    folder = importlib.resources.files("aeframe.conf") / "model"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def file_groups(loader: Loader) -> list[str]:
    """Return the groups whose options are YAML files: ``model``, ``experiment``, ``trainer`` and those of users."""
    # A new project may have no folder of experiments.
    return sorted({"experiment", *loader.list_groups("")} - {"hydra", LOGGER, *GROUPS})


def option_file(loader: Loader, group: str, name: str) -> OptionFile:
    """Read one option file, from the source that composition would use.

    Raises:
        AeframeError: There is no such option.
    """
    if name not in (names := loader.get_group_options(group)):
        raise AeframeError(
            f"unknown {group} '{name}'{did_you_mean(name, names)}; known are {', '.join(names) or 'none'}"
        )
    return _read(loader, group, name)


def option_files(loader: Loader, group: str) -> list[OptionFile]:
    """Read all option files of a group, sorted by name."""
    return [_read(loader, group, name) for name in loader.get_group_options(group)]


def place_of(option: ConfigResult, path: str) -> str:
    """Return the location of an option, for messages."""
    scheme, _, root = option.path.partition("://")
    return f"{root}/{path}.yaml" if scheme in ("pkg", "file") else option.path


def _read(loader: Loader, group: str, name: str) -> OptionFile:
    path = f"{group}/{name}"
    option = loader.read(path)
    assert option is not None
    values: Any = OmegaConf.to_container(option.config, resolve=False)
    return OptionFile(
        group,
        name,
        place_of(option, path),
        _head_comment(_file(option, path).read_text(encoding="utf-8")),
        _choices(option.defaults_list or []),
        dict(values),
        _package(option.header.get("package"), group),
    )


def _package(header: str | None, group: str) -> str:
    """Return the dotted key that a file's ``# @package`` line names, by default its group."""
    package = group.replace("/", ".") if header is None else header
    return "" if package == "_global_" else package.removeprefix("_global_.")


def _file(option: ConfigResult, path: str) -> Traversable:
    scheme, _, root = option.path.partition("://")
    folder: Traversable = importlib.resources.files(root) if scheme == "pkg" else Path(root)
    return folder.joinpath(f"{path}.yaml")


def _choices(defaults_list: Sequence[InputDefault]) -> dict[str, str | None]:
    choices: dict[str, str | None] = {}
    for default in defaults_list:
        if isinstance(default, GroupDefault) and not isinstance(default.value, list):
            choices[str(default.group).removeprefix("/")] = default.value
        elif isinstance(default, ConfigDefault) and default.path not in (None, "_self_"):
            group, _, name = str(default.path).removeprefix("/").rpartition("/")
            choices[group] = name
    return choices


def _head_comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").removeprefix(" ").rstrip())
    return "\n".join(lines).strip()
