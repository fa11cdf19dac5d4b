"""The sources of config options: the user's folder, config packages of core and plugins, and the registry.

A config package is a Python package of YAML files, such as ``aeframe.conf``. A registered part, such as the loss
``mse``, is an option too: `RegistrySource` makes its config from the signature of its constructor.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from aeframe.errors import AeframeError
from aeframe.experiment.composition.hydra_internals import ConfigSearchPathImpl
from aeframe.experiment.schema import RunSettings
from aeframe.factory import defaults
from aeframe.kinds import BY_KEY, GROUPS, LOGGER
from aeframe.registry import Entry, registry

USER = "user"
"""The provider, in Hydra's search path, of the user's folder of option files."""


def search_path(config_dir: Path | None = None, *, names_only: bool = False) -> ConfigSearchPath:
    """Return Hydra's search path; an option is read from the first source that has it.

    Args:
        config_dir: The folder of the user's own YAML files; by default ``configs`` in the working folder, if present.
        names_only: Import no registered parts; the config of a part is then its name only.

    Raises:
        AeframeError: There is no such folder, the config package of a plugin cannot be found, or two packages have the
            same option.
    """
    # Registered here and not by a `hydra_plugins` namespace package, which breaks in editable installs.
    Plugins.instance().register(RegistrySource)
    path = ConfigSearchPathImpl()
    path.append("hydra", "pkg://hydra.conf")
    if config_dir is not None and not config_dir.is_dir():
        raise AeframeError(f"the config folder '{config_dir}' does not exist; use one that does")
    user_folder = config_dir or Path("configs")
    if user_folder.is_dir():
        path.append(USER, f"file://{user_folder.resolve()}")
    packages = list(registry().entries("config"))
    refuse_duplicates(packages)
    for entry in packages:
        path.append(f"{entry.plugin}:{entry.name}", f"pkg://{entry.target}")
    path.append("registry", f"registry://{NAMES_ONLY if names_only else ''}")
    path.append("schema", "structured://")
    return path


def refuse_duplicates(packages: list[Entry]) -> None:
    """Raise an error for an option that two packages have; Hydra would silently read it from the first.

    The user's own folder is not checked, since it may override options on purpose.
    """
    holders: dict[str, Entry] = {}
    for entry in packages:
        for option in _options(_root(entry)):
            if (first := holders.setdefault(option, entry)) is not entry:
                raise AeframeError(
                    f"the option file '{option}' is offered by both {first.distribution} ({first.target}) and "
                    f"{entry.distribution} ({entry.target}); rename one, or disable a plugin with AEFRAME_DISABLE"
                )


def _root(entry: Entry) -> Traversable:
    """Return the folder of a config package."""
    try:
        return importlib.resources.files(entry.target)
    except ImportError as error:
        raise AeframeError(
            f"the config package '{entry.target}' of plugin '{entry.plugin}' ({entry.distribution}) cannot be "
            f"imported: {error}; add an __init__.py, or disable the plugin with AEFRAME_DISABLE={entry.plugin}"
        ) from error


def _options(folder: Traversable, prefix: str = "") -> Iterator[str]:
    """Yield the paths of all YAML files below a folder, such as ``model/vae.yaml``."""
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _options(item, f"{prefix}{item.name}/")
        elif item.name.endswith(".yaml"):
            yield f"{prefix}{item.name}"


SETTINGS = "settings"
"""The config that holds every setting of `RunSettings` with its default."""
NAMES_ONLY = "names"
"""The path of a `RegistrySource` that imports no parts: ``registry://names``."""
_CONFIG_GROUPS = (*GROUPS, LOGGER)


class RegistrySource(ConfigSource):
    """Registered parts as config options: ``loss=NAME`` is ``{name: NAME, <its options and their defaults>}``.

    A modality also chooses its default parts, and a dataset its modality; choices of higher precedence override them.
    ``logger=NAME`` is ``{NAME: {name: NAME}}``, so that a list of names chooses several loggers.
    """

    @staticmethod
    def scheme() -> str:
        return "registry"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", *_CONFIG_GROUPS)

    def is_config(self, config_path: str) -> bool:
        group, name = _split(config_path)
        return (group in _CONFIG_GROUPS and registry().has(BY_KEY[group].name, name)) or (group, name) == ("", SETTINGS)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path in _CONFIG_GROUPS:
            return [] if results_filter == ObjectType.GROUP else registry().names(BY_KEY[config_path].name)
        return sorted(_CONFIG_GROUPS) if config_path == "" and results_filter != ObjectType.CONFIG else []

    def load_config(self, config_path: str) -> ConfigResult:
        group, name = _split(config_path)
        if group == "":
            body: dict[str, Any] = dataclasses.asdict(RunSettings())
        elif group == LOGGER:
            # The validation of the config adds the defaults of its options, except those that YAML cannot hold.
            body = {LOGGER: {name: {"name": name}}}
        elif self.path == NAMES_ONLY:
            body = {group: {"name": name}}
        else:
            choices = _implied_choices(group, name)
            body = {"defaults": [{f"override /{key}": value} for key, value in choices.items()]} if choices else {}
            body[group] = defaults(BY_KEY[group].name, name)
        return ConfigResult(
            config=OmegaConf.create(body),
            path=f"{self.scheme()}://{config_path}",
            provider=self.provider,
            # By default Hydra would merge `body` below the key of the group, and ``override /encoder`` in its defaults
            # list would refer to `encoder@modality.encoder`.
            header={"package": "_global_"},
        )


def _implied_choices(group: str, name: str) -> dict[str, str]:
    """Return the default parts of a modality, or the modality of a dataset."""
    if group == "modality":
        return dict(registry().load("modality", name).defaults)
    if group == "data":
        return {"modality": registry().load("dataset", name).modality}
    return {}


def _split(config_path: str) -> tuple[str, str]:
    """Return the group and the name in a path: ``("loss", "mse")`` for ``loss/mse``."""
    group, _, name = config_path.removesuffix(".yaml").rpartition("/")
    return group, name
