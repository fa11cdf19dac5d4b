"""`Registry`: find plugins, and map the names that they register to ``module:Object`` targets. Imports nothing heavy.

A plugin is a module with hooks: functions, one for each kind of part (``loss``), that register names (``mse``). It
belongs to an installed distribution, or is a plain Python file.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import pluggy

from aeframe import hooks
from aeframe.compatibility import incompatibility
from aeframe.errors import AeframeError, did_you_mean
from aeframe.file_modules import import_file
from aeframe.kinds import KINDS, Kind
from aeframe.trust import FolderPlugin, folder_plugin

CORE = "aeframe"
"""The distribution of the plugin ``core``, which registers aeframe's own parts."""
Registered = TypeVar("Registered")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_PACKAGE = re.compile(r"[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name. Its object is imported by `load` only."""

    kind: str
    name: str
    target: str
    summary: str
    plugin: str
    distribution: str
    registered: Any = None
    """The object itself, of a part that `register` added; None for a part of a plugin."""

    def load(self) -> Any:
        """Import and return the object.

        Raises:
            AeframeError: The import fails, or the module has no such object; the message names the plugin.
        """
        if self.registered is not None:
            return self.registered
        module, _, attribute = self.target.partition(":")
        try:
            imported: Any = importlib.import_module(module)
        except Exception as error:
            raise AeframeError(
                f"{self.kind} '{self.name}' of {self.distribution} cannot be imported from '{self.target}': "
                f"{type(error).__name__}: {error}; install what is missing, or disable the plugin with "
                f"AEFRAME_DISABLE={self.plugin}"
            ) from error
        if not attribute:
            return imported
        try:
            return getattr(imported, attribute)
        except AttributeError:
            hint = did_you_mean(attribute, vars(imported))
            raise AeframeError(
                f"{self.kind} '{self.name}' of {self.distribution} points at '{self.target}', "
                f"but '{module}' has no '{attribute}'{hint}"
            ) from None


@dataclass(slots=True)
class Plugin:
    """One plugin; `reason` is a sentence if its state is not ``ok``."""

    name: str
    distribution: str
    """The name of the installed distribution; for a plain file, its path."""
    version: str
    """The version of the distribution; ``file`` for a plain file."""
    state: Literal["ok", "failed", "disabled", "not trusted"] = "ok"
    reason: str = ""
    entries: list[Entry] = field(default_factory=list)


class Registry:
    """All registered names, by kind.

    Plugins are loaded at construction: core first, then the entry points of group ``aeframe`` in the order of their
    names, then plain files, then the file of the working folder if it is trusted. A plugin that fails stays in
    `plugins` with its reason, and does not affect the others; with `strict` an error is raised instead.

    pluggy calls the hooks: first those of core, then those of the plugins in the order above, unless they are marked
    ``tryfirst`` or ``trylast``. If two plugins register the same name, the second one fails.

    Args:
        files: Plain Python files that are plugins.
        folder_plugin: The plugin file of the working folder, if there is one.
        strict: Raise an error for a plugin that fails.
        disabled: Names of plugins that are not loaded.
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
        for entry_point in sorted(importlib.metadata.entry_points(group=hooks.PROJECT), key=lambda point: point.name):
            self._add_entry_point(entry_point)
        for file in files:
            self._add_file(file)
        if folder_plugin is not None:
            self._add_folder_plugin(folder_plugin)
        # Reversed, since pluggy calls the plugin that was registered last first.
        for module, plugin in reversed(self._modules.items()):
            self._register(plugin, module)
        for kind in KINDS.values():
            self._call_hook(kind)
        self._program = Plugin(PROGRAM, "this program", "program")
        for kind_name, name in list(_registered):
            self.add_registered(kind_name, name)

    # -- look-up -------------------------------------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """Return all names of one kind, sorted. Imports nothing.

        Raises:
            AeframeError: There is no such kind.
        """
        return sorted(self._of_kind(kind))

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """Yield all entries, or those of one kind, in order of registration."""
        for kind_name in KINDS if kind is None else (kind,):
            yield from self._of_kind(kind_name).values()

    def has(self, kind: str, name: str) -> bool:
        """Return whether `name` is registered. Imports nothing."""
        return name in self._of_kind(kind)

    def entry(self, kind: str, name: str) -> Entry:
        """Return the entry of a name.

        Raises:
            AeframeError: The name is unknown; the message has the nearest name and the plugins that are not loaded.
        """
        entries = self._of_kind(kind)
        if name in entries:
            return entries[name]
        not_loaded = "".join(
            f"; plugin '{plugin.name}' ({plugin.distribution}) is {plugin.state}: {plugin.reason}"
            for plugin in self.plugins
            if plugin.state != "ok"
        )
        raise AeframeError(
            f"unknown {kind} '{name}'{did_you_mean(name, entries)}; "
            f"known are {', '.join(sorted(entries)) or 'none'}{not_loaded}"
        )

    def load(self, kind: str, name: str) -> Any:
        """Import and return the object registered as `name`."""
        return self.entry(kind, name).load()

    def _of_kind(self, kind: str) -> dict[str, Entry]:
        if kind not in self._entries:
            raise AeframeError(f"unknown kind '{kind}'{did_you_mean(kind, KINDS)}; kinds are {', '.join(KINDS)}")
        return self._entries[kind]

    # -- loading -------------------------------------------------------------------------------------------------

    def _add_core(self) -> None:
        module = importlib.import_module("aeframe.builtin")
        self._add(Plugin("core", CORE, importlib.import_module("aeframe.version").__version__), module)

    def _add_entry_point(self, entry_point: importlib.metadata.EntryPoint) -> None:
        dist = entry_point.dist
        plugin = Plugin(
            name=entry_point.name,
            distribution=dist.name if dist else "unknown distribution",
            version=dist.version if dist else "?",
        )
        if self._add_if_disabled(plugin):
            return
        if (reason := incompatibility(dist)) is not None:
            self.plugins.append(plugin)
            self._fail(plugin, reason, None)
            return
        try:
            module = entry_point.load()
        except Exception as error:  # noqa: BLE001 -- any error of a plugin's import is reported with the plugin
            self.plugins.append(plugin)
            self._fail(plugin, f"its import failed with {type(error).__name__}: {error}", error)
            return
        self._add(plugin, module)

    def _add_if_disabled(self, plugin: Plugin) -> bool:
        """Add a disabled plugin without loading it; return whether it is disabled."""
        if plugin.name not in self._disabled:
            return False
        plugin.state, plugin.reason = "disabled", "named in AEFRAME_DISABLE"
        self.plugins.append(plugin)
        return True

    def _add_folder_plugin(self, file: FolderPlugin) -> None:
        if file.content is not None:
            self._add_file(file.path, file.content)
            return
        plugin = Plugin(file.path.stem, str(file.path), "file")
        if not self._add_if_disabled(plugin):
            plugin.state, plugin.reason = "not trusted", file.reason
            self.plugins.append(plugin)

    def _add_file(self, file: Path, content: bytes | None = None) -> None:
        """Import a plugin file and add it; `content` is the content of the file, if it was read already."""
        plugin = Plugin(file.stem, str(file), "file")
        if self._add_if_disabled(plugin):
            return
        try:
            module = import_file(file, content)
        except AeframeError as error:
            self.plugins.append(plugin)
            self._fail(plugin, str(error), error)
            return
        self._files.append(file.stem)
        self._add(plugin, module)

    def add_registered(self, kind: str, name: str) -> None:
        """Add the part that `register` received under this kind and name; replace an earlier one of it.

        Raises:
            AeframeError: There is no such kind, the name is not in snake_case, or a plugin has registered it.
        """
        entries = self._of_kind(kind)
        if name in entries and entries[name].plugin != PROGRAM:
            raise AeframeError(
                f"{kind} '{name}' is registered by {entries[name].distribution} already; choose another name: "
                f"@aeframe.register('{kind}', name=...)"
            )
        if not _NAME.fullmatch(name):
            raise AeframeError(f"{kind} name '{name}' is not in snake_case (letters, digits and _); pass name=")
        target, summary = _registered[kind, name]
        if self._program not in self.plugins:
            self.plugins.append(self._program)
        where = f"{target.__module__}:{target.__qualname__}"
        self._program.entries = [entry for entry in self._program.entries if (entry.kind, entry.name) != (kind, name)]
        entries[name] = Entry(kind, name, where, summary, PROGRAM, self._program.distribution, target)
        self._program.entries.append(entries[name])

    def forget_files(self) -> None:
        """Remove the modules of plugin files from `sys.modules`, so that they can be imported again."""
        for name in self._files:
            sys.modules.pop(name, None)
        self._files.clear()

    def _add(self, plugin: Plugin, module: ModuleType) -> None:
        """Add a plugin and its module, whose hooks are called after all plugins are loaded."""
        self.plugins.append(plugin)
        if module in self._modules:
            self._fail(plugin, f"its module is that of plugin '{self._modules[module].name}' already", None)
        else:
            self._modules[module] = plugin

    def _register(self, plugin: Plugin, module: ModuleType) -> None:
        """Make the hooks in a plugin's module known to pluggy."""
        try:
            self._check_hook_names(module)
            self._manager.register(module, name=f"{plugin.name}@{plugin.distribution}")
        except Exception as error:
            if plugin.distribution == CORE:
                raise
            self._fail(plugin, _reason(error), error)

    def _call_hook(self, kind: Kind) -> None:
        """Let pluggy call the hook of one kind, separately for each plugin, with the wrappers of all plugins.

        A wrapper is a hook that pluggy runs around those of other plugins.
        """
        implementations = getattr(self._manager.hook, kind.hook).get_hookimpls()
        wrappers = {hook.plugin for hook in implementations if hook.wrapper or hook.hookwrapper}
        # pluggy calls the last implementation of the list first; here, core always comes before it.
        order = [hook.plugin for hook in reversed(implementations) if hook.plugin not in wrappers]
        for module in sorted(order, key=lambda module: self._modules[module].distribution != CORE):
            plugin = self._modules[module]
            if plugin.state != "ok":
                continue
            others = [other for other in self._modules if other is not module and other not in wrappers]
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
        """Return the function `register` that a hook of the plugin receives."""
        pattern = _PACKAGE if kind.name == "config" else _TARGET
        form = "package" if kind.name == "config" else "module:Object"

        def register(name: str, target: str, *, summary: str = "") -> None:
            if not _NAME.fullmatch(name):
                raise AeframeError(f"{kind.name} name '{name}' is not in snake_case (letters, digits and _)")
            if not pattern.fullmatch(target):
                raise AeframeError(f"{kind.name} '{name}' has target '{target}', expected the form '{form}'")
            if (first := self._entries[kind.name].get(name)) is not None:
                raise AeframeError(
                    f"{kind.name} '{name}' is registered by both {first.distribution} and {plugin.distribution}; "
                    f"rename one, or disable one with AEFRAME_DISABLE"
                )
            entry = Entry(kind.name, name, target, summary, plugin.name, plugin.distribution)
            plugin.entries.append(entry)
            self._entries[kind.name][name] = entry

        return register

    def _fail(self, plugin: Plugin, reason: str, error: Exception | None) -> None:
        """Mark a plugin as failed and remove its entries; with `strict`, raise an error."""
        plugin.state, plugin.reason = "failed", reason
        for entry in plugin.entries:
            del self._entries[entry.kind][entry.name]
        plugin.entries.clear()
        if self._strict:
            raise AeframeError(f"plugin '{plugin.name}' of {plugin.distribution} {plugin.version}: {reason}") from error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AeframeError) else f"{type(error).__name__}: {error}"


PROGRAM = "program"
"""The plugin of the parts that `register` adds: classes in the program that runs."""
_registered: dict[tuple[str, str], tuple[Any, str]] = {}
"""Object and summary of each part that `register` added, by kind and name; they outlive `reset`."""
_registry: Registry | None = None


def register(kind: str, name: str | None = None) -> Callable[[Registered], Registered]:
    """Return a decorator that makes a class a named part, in a script or a notebook.

    ```python
    @aeframe.register("loss")
    class Quantile(aeframe.parts.Loss):
        ...

    aeframe.fit(x, model="ae", loss={"name": "quantile", "level": 0.9})
    ```

    A class that is registered again under the same name replaces the first one, as when a notebook's cell runs again. A
    saved model stores the name only: the class must be registered before the model is opened.

    Args:
        kind: The kind of part: ``loss``, ``encoder``, ``penalty``, ...
        name: The name of the part; by default that of the class in snake_case.

    Raises:
        AeframeError: There is no such kind, the name is not in snake_case, or a plugin has registered it.
    """

    def decorate(target: Registered) -> Registered:
        part_name = _snake_case(getattr(target, "__name__", "")) if name is None else name
        previous = _registered.get((kind, part_name))
        _registered[kind, part_name] = target, _summary(target)
        try:
            registry().add_registered(kind, part_name)
        except AeframeError:
            del _registered[kind, part_name]
            if previous is not None:
                _registered[kind, part_name] = previous
            raise
        return target

    return decorate


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _summary(target: Any) -> str:
    """Return the first line of a docstring, without the full stop."""
    lines = (getattr(target, "__doc__", None) or "").strip().splitlines()
    return lines[0].rstrip(".") if lines else "registered by this program"


def registry() -> Registry:
    """Return the registry of this process, created at first use.

    Environment variables configure it: ``AEFRAME_DISABLE=a,b`` disables plugins, ``AEFRAME_STRICT_PLUGINS=1`` raises
    an error for a plugin that fails, and ``AEFRAME_PLUGIN_FILES`` adds plugin files, joined by ``os.pathsep``. An
    ``aeplugin.py`` in the working folder is loaded if the user trusts it: see `aeframe.trust`.
    """
    global _registry
    if _registry is None:
        files = [Path(path) for path in os.environ.get("AEFRAME_PLUGIN_FILES", "").split(os.pathsep) if path]
        in_folder = folder_plugin()
        if in_folder is not None and in_folder.path in [path.resolve() for path in files]:
            in_folder = None
        _registry = Registry(
            files,
            folder_plugin=in_folder,
            strict=os.environ.get("AEFRAME_STRICT_PLUGINS", "") not in ("", "0"),
            disabled=[name for name in os.environ.get("AEFRAME_DISABLE", "").split(",") if name],
        )
    return _registry


def reset() -> None:
    """Discard the registry. Its next use creates a new one; needed after a plugin was installed, and in tests."""
    global _registry
    if _registry is not None:
        _registry.forget_files()
    _registry = None


__all__ = ["CORE", "PROGRAM", "Entry", "Plugin", "Registry", "register", "registry", "reset"]
