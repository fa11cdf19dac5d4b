"""The plugins that a saved model requires, and the check that they are installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError
from aeframe.factory import part_kind, signature
from aeframe.kinds import SAVED
from aeframe.registry import CORE, Entry, Plugin, registry


def needed_plugins(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return ``{plugin: {distribution, version}}`` of the plugins, except core, that registered a config's parts."""
    required: dict[str, dict[str, str]] = {}
    for entry in _entries(config):
        if entry.distribution != CORE:
            plugin = next(
                p for p in registry().plugins if (p.name, p.distribution) == (entry.plugin, entry.distribution)
            )
            required[plugin.name] = {"distribution": _shown(plugin), "version": plugin.version}
    return required


def check_plugins(path: Path, required: Mapping[str, Mapping[str, str]]) -> None:
    """Raise an error unless the required plugins of a model are loaded.

    Raises:
        AeframeError: The first plugin that is missing, broken or disabled.
    """
    loaded = {plugin.name: plugin for plugin in registry().plugins}
    for name, need in required.items():
        distribution, version = need["distribution"], need["version"]
        plugin = loaded.get(name)
        if plugin is not None and plugin.state == "ok":
            continue
        who = f"model '{path}' needs plugin '{name}' of {distribution} {version}"
        if plugin is not None:
            raise AeframeError(f"{who}, which is {plugin.state}: {plugin.reason}")
        if version == "file":
            raise AeframeError(f"{who}, which is not loaded; name it in AEFRAME_PLUGIN_FILES")
        raise AeframeError(f"{who}, which is not installed; pip install '{distribution}=={version}'")


def _entries(config: Mapping[str, Any]) -> Iterator[Entry]:
    for kind in SAVED:
        chosen = config.get(kind.key)
        if kind.labelled:
            for label, options in (chosen or {}).items():
                yield from _nested(kind.name, {"name": label, **options})
        elif chosen is not None:
            yield from _nested(kind.name, chosen)


def _nested(kind: str, part: str | Mapping[str, Any]) -> Iterator[Entry]:
    """Yield a part's entry, and those of the parts in its options (a schedule, an activation)."""
    options: Mapping[str, Any] = {"name": part} if isinstance(part, str) else part
    entry = registry().entry(kind, options["name"])
    yield entry
    for option in signature(entry.load()).options.values():
        inner: Any = part_kind(option.annotation)
        value = options.get(option.name)
        if inner is not None and isinstance(value, (str, Mapping)):
            yield from _nested(inner.part_kind, value)


def _shown(plugin: Plugin) -> str:
    """Return the name of the distribution; for a plain file without its folder, which is private."""
    return Path(plugin.distribution).name if plugin.version == "file" else plugin.distribution
