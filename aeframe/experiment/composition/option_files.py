"""Read option files: their location, head comment, chosen parts and values."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hydra.core.default_element import ConfigDefault, GroupDefault, InputDefault
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from aeframe.errors import AeframeError, did_you_mean
from aeframe.experiment.composition.loader import Loader
from aeframe.kinds import GROUPS, LOGGER


@dataclass(frozen=True, slots=True)
class OptionFile:
    """One YAML file of options: a recipe, an experiment, or a part with a user's settings."""

    group: str
    name: str
    place: str
    """A path, or ``package/path`` where it lies in a package."""
    comment: str
    """The comment at its head, without ``#``."""
    choices: dict[str, str | None]
    """The parts it chooses, by group."""
    values: dict[str, Any]
    """The values that it sets, interpolations unresolved."""
    package: str
    """The dotted key of its values in the config; empty for the top level."""

    @property
    def keys(self) -> list[str]:
        """The dotted keys of a run's config that it sets; a part ``{name: ...}`` is one value."""
        return [f"{self.package}.{key}" if self.package else key for key, _ in _flat(self.values)]

    @property
    def settings(self) -> dict[str, Any]:
        """The values that it sets, except its name, by dotted key; a part ``{name: ...}`` is one value."""
        own = (self.group, f"{self.group}.name")
        return {key: value for key, value in _flat(self.values) if key not in own}


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
    if name not in (known := loader.get_group_options(group)):
        raise AeframeError(
            f"unknown {group} '{name}'{did_you_mean(name, known)}; known are {', '.join(known) or 'none'}"
        )
    return _read(loader, group, name)


def option_files(loader: Loader, group: str) -> list[OptionFile]:
    """Read all option files of a group, sorted by name; its folder is listed once."""
    return [_read(loader, group, name) for name in loader.get_group_options(group)]


def place_of(found: ConfigResult, path: str) -> str:
    """Return the location of an option, for messages."""
    scheme, _, root = found.path.partition("://")
    return f"{root}/{path}.yaml" if scheme in ("pkg", "file") else found.path


def _read(loader: Loader, group: str, name: str) -> OptionFile:
    found = loader.read(f"{group}/{name}")
    assert found is not None
    values: Any = OmegaConf.to_container(found.config, resolve=False)
    return OptionFile(
        group,
        name,
        place_of(found, f"{group}/{name}"),
        _comment(_file(found, f"{group}/{name}").read_text(encoding="utf-8")),
        _choices(found.defaults_list or []),
        dict(values),
        _package(found.header.get("package"), group),
    )


def _package(header: str | None, group: str) -> str:
    """Return the dotted key that a file's ``# @package`` line names, by default its group."""
    named = group.replace("/", ".") if header is None else header
    return "" if named == "_global_" else named.removeprefix("_global_.")


def _file(found: ConfigResult, path: str) -> Traversable:
    scheme, _, root = found.path.partition("://")
    folder: Traversable = importlib.resources.files(root) if scheme == "pkg" else Path(root)
    return folder.joinpath(f"{path}.yaml")


def _choices(defaults: Sequence[InputDefault]) -> dict[str, str | None]:
    chosen: dict[str, str | None] = {}
    for each in defaults:
        if isinstance(each, GroupDefault) and not isinstance(each.value, list):
            chosen[str(each.group).removeprefix("/")] = each.value
        elif isinstance(each, ConfigDefault) and each.path not in (None, "_self_"):
            group, _, name = str(each.path).removeprefix("/").rpartition("/")
            chosen[group] = name
    return chosen


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value and "name" not in value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").removeprefix(" ").rstrip())
    return "\n".join(lines).strip()
