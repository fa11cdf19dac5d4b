"""Read option files: their location, head comment, chosen parts and values.

An option file is a YAML file that an override such as ``model=vae`` chooses. Its folder is its group, here ``model``.
A *part* is one named component of a run, such as the loss ``mse``. There are three common uses of an option file:

- a *recipe*, in the group ``model``, chooses the parts of a model;
- an *experiment*, in the group ``experiment``, chooses recipe, data and settings;
- a file in the group of a part, such as ``loss/mine.yaml``, stores a part together with a user's options for it.
"""

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
    """The content of one option file."""

    group: str
    name: str
    place: str
    """The path of the file; it begins with the name of the Python package if the file belongs to one."""
    comment: str
    """The comment at the top of the file, without ``#``."""
    choices: dict[str, str | None]
    """The name that it chooses in each group, from its defaults list; None where it removes a choice."""
    values: dict[str, Any]
    """The values that it sets, with interpolations unresolved."""
    package: str
    """Hydra's ``@package`` of the file: the dotted key below which its values are merged; empty for the top level."""

    @property
    def keys(self) -> list[str]:
        """The dotted keys of a run's config that it sets; a part ``{name: ...}`` is not split into its options."""
        return [f"{self.package}.{key}" if self.package else key for key, _ in flat(self.values)]

    @property
    def settings(self) -> dict[str, Any]:
        """The values that it sets by dotted key; a part ``{name: ...}`` is not split into its options.

        The entry that gives the file its own name, such as ``model: {name: vae}`` in a recipe, is left out.
        """
        own_name = (self.group, f"{self.group}.name")
        return {key: value for key, value in flat(self.values) if key not in own_name}


def core_recipes() -> list[str]:
    """Return the names of the recipes of aeframe itself, without those of plugins and users, sorted."""
    folder = importlib.resources.files("aeframe.conf") / "model"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def file_groups(loader: Loader) -> list[str]:
    """Return the groups whose options are YAML files: ``model``, ``experiment``, ``trainer`` and those of users."""
    # `GROUPS` and `LOGGER` are the groups whose options are registered parts. "experiment" is added, since a new
    # project may have no folder of experiments.
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
        group=group,
        name=name,
        place=place_of(option, path),
        comment=_head_comment(_file(option, path).read_text(encoding="utf-8")),
        choices=_choices(option.defaults_list or []),
        values=dict(values),
        package=_package(option.header.get("package"), group),
    )


def _package(declared: str | None, group: str) -> str:
    """Return the dotted key that a file's ``# @package`` line declares, by default its group."""
    package = group.replace("/", ".") if declared is None else declared
    return "" if package == "_global_" else package.removeprefix("_global_.")


def _file(option: ConfigResult, path: str) -> Traversable:
    """Return the file of an option: in a Python package (``pkg://``), or in a folder of the user (``file://``)."""
    scheme, _, root = option.path.partition("://")
    folder: Traversable = importlib.resources.files(root) if scheme == "pkg" else Path(root)
    return folder.joinpath(f"{path}.yaml")


def _choices(defaults_list: Sequence[InputDefault]) -> dict[str, str | None]:
    """Return the name that a defaults list chooses in each group; a list of several names is left out."""
    choices: dict[str, str | None] = {}
    for default in defaults_list:
        if isinstance(default, GroupDefault) and not isinstance(default.value, list):
            choices[str(default.group).removeprefix("/")] = default.value
        elif isinstance(default, ConfigDefault) and default.path not in (None, "_self_"):
            group, _, name = str(default.path).removeprefix("/").rpartition("/")
            choices[group] = name
    return choices


def _head_comment(text: str) -> str:
    """Return the comment at the top of a file, without ``#`` and without the ``# @package`` line."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").removeprefix(" ").rstrip())
    return "\n".join(lines).strip()
