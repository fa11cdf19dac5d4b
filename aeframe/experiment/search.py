"""Where options are looked for: the user's configs, core's, each plugin's, and last the registry."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins

from aeframe.errors import AeframeError
from aeframe.experiment.hydra_internals import ConfigSearchPathImpl
from aeframe.experiment.source import NAMES_ONLY, RegistrySource
from aeframe.registry import Entry, registry


def search_path(config_dir: Path | None = None, *, names_only: bool = False) -> ConfigSearchPath:
    """Return Hydra's search path; the first place that has an option wins.

    Args:
        config_dir: The user's own options; by default the folder ``configs`` in the working folder, if there is one.
        names_only: List the registry's options without their signatures, importing nothing.

    Raises:
        AeframeError: No such folder, a plugin's config package that cannot be found, or one option in two packages.
    """
    # In code, and not through a `hydra_plugins` namespace package, which breaks in editable installs.
    Plugins.instance().register(RegistrySource)
    path = ConfigSearchPathImpl()
    path.append("hydra", "pkg://hydra.conf")
    if config_dir is not None and not config_dir.is_dir():
        raise AeframeError(f"the config folder '{config_dir}' does not exist; give one that does")
    user = config_dir or Path("configs")
    if user.is_dir():
        path.append("user", f"file://{user.resolve()}")
    packages = list(registry().entries("config"))
    refuse_duplicates(packages)
    for entry in packages:
        path.append(f"{entry.plugin}:{entry.name}", f"pkg://{entry.target}")
    path.append("registry", f"registry://{NAMES_ONLY if names_only else ''}")
    path.append("schema", "structured://")
    return path


def refuse_duplicates(packages: list[Entry]) -> None:
    """Refuse an option that two packages offer, which Hydra would take silently from the first.

    The user's own folder may shadow an option on purpose, so it is not checked.
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
    try:
        return importlib.resources.files(entry.target)
    except ImportError as error:
        raise AeframeError(
            f"the config package '{entry.target}' of plugin '{entry.plugin}' ({entry.distribution}) cannot be "
            f"imported: {error}; give it an __init__.py, or disable the plugin with AEFRAME_DISABLE={entry.plugin}"
        ) from error


def _options(folder: Traversable, prefix: str = "") -> Iterator[str]:
    for each in sorted(folder.iterdir(), key=lambda item: item.name):
        if each.is_dir():
            yield from _options(each, f"{prefix}{each.name}/")
        elif each.name.endswith(".yaml"):
            yield f"{prefix}{each.name}"
