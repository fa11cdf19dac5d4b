"""Find the plugins that a saved model requires, and check that they are loaded.

A plugin belongs to an installed distribution, or is a plain Python file: its version is then ``file``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from aeframe.errors import AeframeError
from aeframe.factory import part_kind, signature
from aeframe.model_store.layout import saved_parts
from aeframe.registry import CORE, Entry, Plugin, registry

_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.+!_-]{1,64}")


def needed_plugins(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return ``{plugin: {distribution, version}}`` of the plugins, except core, that registered the config's parts."""
    required: dict[str, dict[str, str]] = {}
    entries = (entry for kind, part in saved_parts(config) for entry in _entries(kind, part))
    for entry in entries:
        if entry.distribution != CORE:
            plugin = next(
                p for p in registry().plugins if (p.name, p.distribution) == (entry.plugin, entry.distribution)
            )
            required[plugin.name] = {"distribution": _shown(plugin), "version": plugin.version}
    return required


def check_plugins(path: Path, required: Mapping[str, Mapping[str, str]]) -> None:
    """Check that the required plugins of the model at `path` are loaded.

    Raises:
        AeframeError: A plugin is missing, broken or disabled.
    """
    loaded = {plugin.name: plugin for plugin in registry().plugins}
    for name, requirement in required.items():
        distribution, version = requirement["distribution"], requirement["version"]
        plugin = loaded.get(name)
        if plugin is not None and plugin.state == "ok":
            continue
        who = f"model '{path}' needs plugin '{name}' of {distribution} {version}"
        if plugin is not None:
            raise AeframeError(f"{who}, which is {plugin.state}: {plugin.reason}")
        if version == "program":
            raise AeframeError(
                f"model '{path}' needs parts that the program which trained it registered with @aeframe.register; run "
                "that code before you open the model"
            )
        if version == "file":
            raise AeframeError(f"{who}, which is not loaded; name it in AEFRAME_PLUGIN_FILES")
        if (pinned := pinned_requirement(distribution, version)) is not None:
            raise AeframeError(f"{who}, which is not installed; pip install '{pinned}'")
        raise AeframeError(
            f"{who}, which is not installed; that is no name and version of a package, so do not install it before "
            "the author of the model has told its name"
        )


def pinned_requirement(distribution: str, version: str) -> str | None:
    """Return ``NAME==VERSION`` for `pip`; None if a saved model names no valid package and version (PEP 508, PEP 440).

    Such text of a stranger must not become a command that the user may copy into a shell.
    """
    try:
        Version(version)
    except InvalidVersion:
        return None
    is_plain = _DISTRIBUTION.fullmatch(distribution) is not None and _VERSION.fullmatch(version) is not None
    return f"{distribution}=={version}" if is_plain else None


def _entries(kind: str, part: str | Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the registry's entry of a part, and those of the parts in its options (a schedule, an activation)."""
    options: Mapping[str, Any] = {"name": part} if isinstance(part, str) else part
    entry = registry().entry(kind, options["name"])
    yield entry
    for option in signature(entry.load()).options.values():
        nested: Any = part_kind(option.annotation)
        value = options.get(option.name)
        if nested is not None and isinstance(value, (str, Mapping)):
            yield from _entries(nested.part_kind, value)


def _shown(plugin: Plugin) -> str:
    """Return the name of the plugin's distribution; for a plugin file, the file's name without its private folder."""
    return Path(plugin.distribution).name if plugin.version == "file" else plugin.distribution
