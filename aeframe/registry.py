"""Find plugins, keep name -> "module:Object", isolate the broken, explain the misspelt. Imports nothing heavy."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pluggy

from aeframe import hooks
from aeframe.compatibility import incompatibility
from aeframe.errors import AeframeError, did_you_mean
from aeframe.file_modules import import_file
from aeframe.kinds import KINDS, Kind
from aeframe.trust import FolderPlugin, folder_plugin

CORE = "aeframe"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_PACKAGE = re.compile(r"[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name. Importing its object is put off until `load`."""

    kind: str
    name: str
    target: str
    summary: str
    plugin: str
    distribution: str

    def load(self) -> Any:
        """Import and return the object.

        Raises:
            AeframeError: The import fails, or the module has no such object; with the plugin that registered it.
        """
        module, _, attribute = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module)
        except Exception as error:
            raise AeframeError(
                f"{self.kind} '{self.name}' of {self.distribution} cannot be imported from '{self.target}': "
                f"{type(error).__name__}: {error}; install what is missing, or disable the plugin with "
                f"AEFRAME_DISABLE={self.plugin}"
            ) from error
        if not attribute:
            return found
        try:
            return getattr(found, attribute)
        except AttributeError:
            hint = did_you_mean(attribute, vars(found))
            raise AeframeError(
                f"{self.kind} '{self.name}' of {self.distribution} points at '{self.target}', "
                f"but '{module}' has no '{attribute}'{hint}"
            ) from None


@dataclass(slots=True)
class Plugin:
    """One plugin, loaded or not. `reason` is a sentence when it is not ``ok``."""

    name: str
    distribution: str
    version: str
    state: Literal["ok", "failed", "disabled", "not trusted"] = "ok"
    reason: str = ""
    entries: list[Entry] = field(default_factory=list)


class Registry:
    """Every registered name, by kind.

    `plugins` are loaded at construction: core first, then the entry points of group ``aeframe`` in the order of their
    names, then plain files, then the file of the working folder, which is loaded only if it is trusted. A plugin that
    fails stays in the list with its reason, and does not affect the others; with `strict` it raises instead.

    pluggy calls the hooks: core's first, then those of the plugins in the order above, unless they are marked
    ``tryfirst`` or ``trylast``. The first plugin that registers a name has it; a second one fails.
    """

    def __init__(
        self,
        files: Iterable[Path] = (),
        *,
        folder_plugin: FolderPlugin | None = None,
        strict: bool = False,
        disabled: Iterable[str] = (),
    ) -> None:
        self.plugins: list[Plugin] = []
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self._strict = strict
        self._files: list[str] = []
        self._disabled = frozenset(disabled)
        self._manager = pluggy.PluginManager(hooks.PROJECT)
        self._manager.add_hookspecs(type("Hooks", (), {name: staticmethod(hook) for name, hook in hooks.HOOKS.items()}))
        self._modules: dict[ModuleType, Plugin] = {}
        self._add_core()
        for point in sorted(importlib.metadata.entry_points(group=hooks.PROJECT), key=lambda p: p.name):
            self._add_entry_point(point)
        for file in files:
            self._add_file(file)
        if folder_plugin is not None:
            self._add_folder_plugin(folder_plugin)
        # pluggy calls the plugin that was registered last first.
        for module, plugin in reversed(self._modules.items()):
            self._register(plugin, module)
        for kind in KINDS.values():
            self._call_hook(kind)

    # -- reading -------------------------------------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """All names of one kind, sorted. Imports nothing."""
        return sorted(self._of_kind(kind))

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """Every entry, or those of one kind, in order of registration."""
        for each in KINDS if kind is None else (kind,):
            yield from self._of_kind(each).values()

    def has(self, kind: str, name: str) -> bool:
        """Return whether `name` is known. Imports nothing."""
        return name in self._of_kind(kind)

    def entry(self, kind: str, name: str) -> Entry:
        """Return the entry.

        Raises:
            AeframeError: An unknown name; with the nearest one, and any plugin that failed.
        """
        known = self._of_kind(kind)
        if name in known:
            return known[name]
        failed = [plugin for plugin in self.plugins if plugin.state != "ok"]
        also = "".join(f"; plugin '{p.name}' ({p.distribution}) is {p.state}: {p.reason}" for p in failed)
        raise AeframeError(
            f"unknown {kind} '{name}'{did_you_mean(name, known)}; known are {', '.join(sorted(known)) or 'none'}{also}"
        )

    def load(self, kind: str, name: str) -> Any:
        """Import and return the object registered as `name`."""
        return self.entry(kind, name).load()

    def _of_kind(self, kind: str) -> dict[str, Entry]:
        if kind not in self._entries:
            raise AeframeError(f"unknown kind '{kind}'{did_you_mean(kind, KINDS)}; kinds are {', '.join(KINDS)}")
        return self._entries[kind]

    # -- finding -------------------------------------------------------------------------------------------------

    def _add_core(self) -> None:
        module = importlib.import_module("aeframe.builtin")
        self._add(Plugin("core", CORE, importlib.import_module("aeframe.version").__version__), module)

    def _add_entry_point(self, point: importlib.metadata.EntryPoint) -> None:
        distribution = point.dist.name if point.dist else "unknown distribution"
        plugin = Plugin(point.name, distribution, point.dist.version if point.dist else "?")
        if self._leaves_out(plugin):
            return
        if (reason := incompatibility(point.dist)) is not None:
            self.plugins.append(plugin)
            self._fail(plugin, reason, None)
            return
        try:
            module = point.load()
        except Exception as error:  # noqa: BLE001 -- the plugin boundary: whatever it raises is the plugin's fault
            self.plugins.append(plugin)
            self._fail(plugin, f"its import failed with {type(error).__name__}: {error}", error)
            return
        self._add(plugin, module)

    def _leaves_out(self, plugin: Plugin) -> bool:
        if plugin.name not in self._disabled:
            return False
        plugin.state, plugin.reason = "disabled", "named in AEFRAME_DISABLE"
        self.plugins.append(plugin)
        return True

    def _add_folder_plugin(self, found: FolderPlugin) -> None:
        if found.content is not None:
            self._add_file(found.path, found.content)
            return
        plugin = Plugin(found.path.stem, str(found.path), "file")
        if not self._leaves_out(plugin):
            plugin.state, plugin.reason = "not trusted", found.reason
            self.plugins.append(plugin)

    def _add_file(self, file: Path, content: bytes | None = None) -> None:
        """Add the plugin of a file, whose `content` may have been read already."""
        plugin = Plugin(file.stem, str(file), "file")
        if self._leaves_out(plugin):
            return
        try:
            module = import_file(file, content)
        except AeframeError as error:
            self.plugins.append(plugin)
            self._fail(plugin, str(error), error)
            return
        self._files.append(file.stem)
        self._add(plugin, module)

    def forget_files(self) -> None:
        """Take the modules of plain files out of `sys.modules`, so that they can be loaded anew."""
        for name in self._files:
            sys.modules.pop(name, None)
        self._files.clear()

    def _add(self, plugin: Plugin, module: ModuleType) -> None:
        """Keep a plugin's module, whose hooks are called when all plugins are loaded."""
        self.plugins.append(plugin)
        if module in self._modules:
            self._fail(plugin, f"its module is that of plugin '{self._modules[module].name}' already", None)
        else:
            self._modules[module] = plugin

    def _register(self, plugin: Plugin, module: ModuleType) -> None:
        try:
            self._check_hook_names(module)
            self._manager.register(module, name=f"{plugin.name}@{plugin.distribution}")
        except Exception as error:
            if plugin.distribution == CORE:
                raise
            self._fail(plugin, _reason(error), error)

    def _call_hook(self, kind: Kind) -> None:
        """Have pluggy call the hook of one kind, for each plugin on its own, with the wrappers of all plugins."""
        implementations = getattr(self._manager.hook, kind.hook).get_hookimpls()
        wrappers = {each.plugin for each in implementations if each.wrapper or each.hookwrapper}
        # pluggy calls the last of the list first; core comes before all of them.
        order = [each.plugin for each in reversed(implementations) if each.plugin not in wrappers]
        for module in sorted(order, key=lambda module: self._modules[module].distribution != CORE):
            plugin = self._modules[module]
            if plugin.state != "ok":
                continue
            others = [each for each in self._modules if each is not module and each not in wrappers]
            try:
                self._manager.subset_hook_caller(kind.hook, others)(register=self._registrar(plugin, kind))
            except Exception as error:
                if plugin.distribution == CORE:
                    raise
                self._fail(plugin, _reason(error), error)

    def _check_hook_names(self, module: ModuleType) -> None:
        for name, value in vars(module).items():
            marked = getattr(value, f"{hooks.PROJECT}_impl", None) is not None
            if marked and name not in hooks.HOOKS:
                raise AeframeError(f"it implements an unknown hook '{name}'{did_you_mean(name, hooks.HOOKS)}")

    def _registrar(self, plugin: Plugin, kind: Kind) -> hooks.Register:
        pattern = _PACKAGE if kind.name == "config" else _TARGET
        form = "package" if kind.name == "config" else "module:Object"

        def register(name: str, target: str, *, summary: str = "") -> None:
            if not _NAME.fullmatch(name):
                raise AeframeError(f"{kind.name} name '{name}' is not in snake_case (letters, digits and _)")
            if not pattern.fullmatch(target):
                raise AeframeError(f"{kind.name} '{name}' has target '{target}', expected the form '{form}'")
            if (known := self._entries[kind.name].get(name)) is not None:
                raise AeframeError(
                    f"{kind.name} '{name}' is registered by both {known.distribution} and {plugin.distribution}; "
                    f"rename one, or disable one with AEFRAME_DISABLE"
                )
            entry = Entry(kind.name, name, target, summary, plugin.name, plugin.distribution)
            plugin.entries.append(entry)
            self._entries[kind.name][name] = entry

        return register

    def _fail(self, plugin: Plugin, reason: str, error: Exception | None) -> None:
        """Mark a plugin as failed; none of its names is registered."""
        plugin.state, plugin.reason = "failed", reason
        for entry in plugin.entries:
            del self._entries[entry.kind][entry.name]
        plugin.entries.clear()
        if self._strict:
            raise AeframeError(f"plugin '{plugin.name}' of {plugin.distribution} {plugin.version}: {reason}") from error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AeframeError) else f"{type(error).__name__}: {error}"


_registry: Registry | None = None


def registry() -> Registry:
    """Return the registry of this process, made on first use.

    The environment decides: ``AEFRAME_DISABLE=a,b`` leaves plugins out, ``AEFRAME_STRICT_PLUGINS=1`` makes a broken
    one an error, and the files of ``AEFRAME_PLUGIN_FILES`` (paths joined by ``os.pathsep``) are plugins. An
    ``aeplugin.py`` in the working folder is loaded if the user trusts it: see `aeframe.trust`.
    """
    global _registry
    if _registry is None:
        named = [Path(p) for p in os.environ.get("AEFRAME_PLUGIN_FILES", "").split(os.pathsep) if p]
        found = folder_plugin()
        if found is not None and found.path in [path.resolve() for path in named]:
            found = None
        _registry = Registry(
            named,
            folder_plugin=found,
            strict=os.environ.get("AEFRAME_STRICT_PLUGINS", "") not in ("", "0"),
            disabled=[n for n in os.environ.get("AEFRAME_DISABLE", "").split(",") if n],
        )
    return _registry


def reset() -> None:
    """Forget the registry, so that the next use looks again (after installing a plugin, and in tests)."""
    global _registry
    if _registry is not None:
        _registry.forget_files()
    _registry = None


__all__ = ["CORE", "Entry", "Plugin", "Registry", "registry", "reset"]
