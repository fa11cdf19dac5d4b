"""Build the callbacks and loggers of a run: registered ones by name, any other by class path."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.errors import AeframeError, did_you_mean
from aeframe.factory import build
from aeframe.kinds import KINDS

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers import Logger

CLASS = "class"
"""The key that holds a class path: ``{class: package.module.Class, options}``."""
_INJECTED = {"callback": frozenset[str](), "logger": frozenset({"save_dir", "root_dir"})}
"""Arguments that the framework passes to a class of each kind, where its constructor takes them."""


def checked_class(kind: str, key: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"class": path, **options}`` with the options that the user gave, checked against the constructor.

    Args:
        kind: ``callback`` or ``logger``.
        key: Where the part stands in the config, such as ``callbacks.lr``.
        part: The class path and its options.

    Raises:
        AeframeError: A class that cannot be imported or is of another kind, an unknown option, or a missing one.
    """
    options = {name: value for name, value in part.items() if name != CLASS}
    path = part[CLASS]
    if "name" in options and "name" not in _parameters(load_class(kind, key, path)):
        raise AeframeError(
            f"{key} has both a name and a class, '{options['name']}' and '{path}'; keep name for a registered {kind}, "
            "or class for any other"
        )
    known = _parameters(load_class(kind, key, path))
    unknown = next((name for name in options if name not in known), None)
    if unknown is not None and not any(each.kind is each.VAR_KEYWORD for each in known.values()):
        raise AeframeError(
            f"{key}: {path} has no option '{unknown}'{did_you_mean(unknown, known)}; "
            f"its options are {', '.join(known) or 'none'}"
        )
    for name, each in known.items():
        given = name in options or name in _INJECTED[kind] or each.kind is each.VAR_KEYWORD
        if options.get(name) == "???" or (each.default is each.empty and not given):
            raise AeframeError(f"{key}: {path} needs a value for '{name}'; set {key}.{name}=...")
    return {CLASS: path, **options}


def build_class(kind: str, key: str, part: Mapping[str, Any], **injected: Any) -> Any:
    """Build a part of the form that `checked_class` returns.

    Args:
        kind: ``callback`` or ``logger``.
        key: Where the part stands in the config.
        part: The class path and its options.
        injected: Arguments that the framework passes where the constructor takes them and the user gave none.

    Raises:
        AeframeError: As `checked_class`; or the constructor raised TypeError, ValueError, an import error or
            Lightning's MisconfigurationException.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    options = {name: value for name, value in checked_class(kind, key, part).items() if name != CLASS}
    target = load_class(kind, key, part[CLASS])
    own = {name: value for name, value in injected.items() if name in _parameters(target) and name not in options}
    try:
        return target(**own, **options)
    except (MisconfigurationException, TypeError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0].rstrip(".!") or type(error).__name__
        raise AeframeError(
            f"{key}: {part[CLASS]} cannot be built with {options}: {reason}; change these options"
        ) from error


def load_class(kind: str, key: str, path: Any) -> type:
    """Import a class by its path.

    Raises:
        AeframeError: No such module or class, or a class of another kind.
    """
    if not isinstance(path, str) or "." not in path:
        raise AeframeError(f"{key} expects a class path, found {path!r}; write {key}.class=PACKAGE.MODULE.CLASS")
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise AeframeError(
            f"{key}: class '{path}' cannot be imported: {type(error).__name__}: {_line(error)}; install its package, "
            "or add the folder of its module to PYTHONPATH"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        raise AeframeError(
            f"{key}: module '{module_name}' has no class '{name}'{did_you_mean(name, vars(module))}; write the whole "
            "path of a class"
        )
    home, _, base = str(KINDS[kind].base).partition(":")
    if not (isinstance(found, type) and issubclass(found, KINDS[kind].base_class())):
        other = isinstance(found, type) and any(each.__module__.startswith("pytorch_lightning") for each in found.mro())
        hint = "take it from the package lightning.pytorch" if other else f"name a subclass of {home}.{base}"
        raise AeframeError(f"{key}: '{path}' is not a Lightning {kind}; {hint}")
    return found


@functools.cache
def _parameters(target: type) -> dict[str, inspect.Parameter]:
    found = inspect.signature(target).parameters.values()
    return {each.name: each for each in found if each.kind not in (each.VAR_POSITIONAL, each.POSITIONAL_ONLY)}


def plain(value: Any) -> bool:
    """Return whether a value can be written as YAML without a tag."""
    if isinstance(value, Enum):
        return False
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and plain(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(plain(each) for each in value)
    return value is None or type(value) in (str, int, float, bool)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no reason given"


def build_callbacks(config: Mapping[str, Mapping[str, Any]]) -> list[Callback]:
    """Return the callbacks of ``config["callbacks"]``, in its order.

    Raises:
        AeframeError: A callback that cannot be imported or built.
    """
    return [
        build_class("callback", f"callbacks.{label}", part) if CLASS in part else build("callback", part)
        for label, part in config.items()
    ]


def build_loggers(config: Mapping[str, Mapping[str, Any]], *, folder: Path, run_name: str) -> list[Logger]:
    """Return the loggers of ``config["logger"]``, in its order.

    Args:
        config: ``{label: {name: ..., options}}``, or ``{label: {class: ..., options}}``.
        folder: The run folder. A class that takes `save_dir` or `root_dir`, and was given none, writes below it.
        run_name: The run's name in the tracker.

    Raises:
        AeframeError: A logger that cannot be imported or built.
    """
    return [
        build_class("logger", f"logger.{label}", part, save_dir=str(folder), root_dir=str(folder))
        if CLASS in part
        else build("logger", part, folder=folder, run_name=run_name)
        for label, part in config.items()
    ]
