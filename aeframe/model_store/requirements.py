"""Which plugins a model needs, and whether they are here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError
from aeframe.factory import part_kind, signature
from aeframe.kinds import SAVED
from aeframe.registry import CORE, Entry, Plugin, registry


def needed_plugins(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return ``{plugin: {distribution, version}}`` of all that the config's parts come from, core left out."""
    requires: dict[str, dict[str, str]] = {}
    for entry in _entries(config):
        if entry.distribution != CORE:
            plugin = next(
                p for p in registry().plugins if (p.name, p.distribution) == (entry.plugin, entry.distribution)
            )
            requires[plugin.name] = {"distribution": _shown(plugin), "version": plugin.version}
    return requires


def check_plugins(path: Path, requires: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a model whose plugins are not all here.

    Raises:
        AeframeError: The first plugin that is missing, broken or disabled.
    """
    here = {plugin.name: plugin for plugin in registry().plugins}
    for name, need in requires.items():
        distribution, version = need["distribution"], need["version"]
        plugin = here.get(name)
        if plugin is not None and plugin.state == "ok":
            continue
        who = f"model '{path}' needs plugin '{name}' of {distribution} {version}"
        if plugin is not None:
            raise AeframeError(f"{who}, which is {plugin.state}: {plugin.reason}")
        if version == "file":
            raise AeframeError(f"{who}, which is not here; name it in AEFRAME_PLUGIN_FILES")
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
    """Return the distribution; of a plain file its name only, for folders are nobody else's business."""
    return Path(plugin.distribution).name if plugin.version == "file" else plugin.distribution
