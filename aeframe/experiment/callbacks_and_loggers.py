"""Build the Lightning callbacks and loggers of a run: registered ones by name, others by class path.

The config of one of them is called its part: ``{name: ..., options}`` or ``{class: package.module.Class, options}``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.errors import AeframeError, did_you_mean, first_sentence
from aeframe.factory import build
from aeframe.kinds import KINDS

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers import Logger

CLASS = "class"
"""The key that holds a class path: ``{class: package.module.Class, options}``."""
_INJECTED = {"callback": frozenset[str](), "logger": frozenset({"save_dir", "root_dir"})}
"""Arguments that the framework passes to a class given by its path, if its constructor takes them; by kind."""


def checked_class(kind: str, key: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a class path against its constructor; return ``{"class": path, **options}``.

    Args:
        kind: ``callback`` or ``logger``.
        key: The dotted key of the part in the config, such as ``callbacks.lr``.
        part: The class path and its options.

    Raises:
        AeframeError: The class cannot be imported or is of another kind; an option is unknown or missing.
    """
    options = {name: value for name, value in part.items() if name != CLASS}
    path = part[CLASS]
    parameters = _parameters(load_class(kind, key, path))
    if "name" in options and "name" not in parameters:
        raise AeframeError(
            f"{key} has both a name and a class, '{options['name']}' and '{path}'; keep name for a registered {kind}, "
            "or class for any other"
        )
    unknown = next((name for name in options if name not in parameters), None)
    if unknown is not None and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        raise AeframeError(
            f"{key}: {path} has no option '{unknown}'{did_you_mean(unknown, parameters)}; "
            f"its options are {', '.join(parameters) or 'none'}"
        )
    for name, parameter in parameters.items():
        has_value = name in options or name in _INJECTED[kind] or parameter.kind is parameter.VAR_KEYWORD
        if options.get(name) == "???" or (parameter.default is parameter.empty and not has_value):
            raise AeframeError(f"{key}: {path} needs a value for '{name}'; set {key}.{name}=...")
    return {CLASS: path, **options}


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Check that a run can use the callbacks.

    Raises:
        AeframeError: It cannot; the message has what to use instead.
    """
    from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging

    unsupported = {
        GradientAccumulationScheduler: "works in automatic optimization only; set accumulate=, or "
        "optimizers.GROUP.accumulate=",
        StochasticWeightAveraging: "averages after the last checkpoint, but a run saves the model of its best one; "
        "set ema=0.999, or use it in a Trainer of your own (aeframe.build)",
    }
    for callback in callbacks:
        for kind, reason in unsupported.items():
            if isinstance(callback, kind):
                raise AeframeError(f"callback {type(callback).__name__} {reason}")


def build_class(kind: str, key: str, part: Mapping[str, Any], **injected: Any) -> Any:
    """Build a callback or logger from its class path and options.

    Args:
        kind: ``callback`` or ``logger``.
        key: The dotted key of the part in the config.
        part: The class path and its options.
        injected: Arguments that are passed if the constructor takes them and `part` does not set them.

    Raises:
        AeframeError: The errors of `checked_class`, or the constructor raised TypeError, ValueError, ImportError or
            Lightning's MisconfigurationException.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    options = {name: value for name, value in checked_class(kind, key, part).items() if name != CLASS}
    cls = load_class(kind, key, part[CLASS])
    accepted = {name: value for name, value in injected.items() if name in _parameters(cls) and name not in options}
    try:
        return cls(**accepted, **options)
    except (MisconfigurationException, TypeError, ValueError, ImportError) as error:
        reason = first_sentence(error) or type(error).__name__
        raise AeframeError(
            f"{key}: {part[CLASS]} cannot be built with {options}: {reason}; change these options"
        ) from error


def load_class(kind: str, key: str, path: Any) -> type:
    """Import the class of a callback or logger by its path, such as ``lightning.pytorch.callbacks.Timer``.

    Raises:
        AeframeError: There is no such module or class, or it is of another kind.
    """
    if not isinstance(path, str) or "." not in path:
        raise AeframeError(f"{key} expects a class path, found {path!r}; write {key}.class=PACKAGE.MODULE.CLASS")
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise AeframeError(
            f"{key}: class '{path}' cannot be imported: {type(error).__name__}: {_one_line(error)}; install its "
            "package, or add the folder of its module to PYTHONPATH"
        ) from error
    cls = getattr(module, name, None)
    if cls is None:
        raise AeframeError(
            f"{key}: module '{module_name}' has no class '{name}'{did_you_mean(name, vars(module))}; write the whole "
            "path of a class"
        )
    base = KINDS[kind].base_class()
    if not (isinstance(cls, type) and issubclass(cls, base)):
        is_old_package = isinstance(cls, type) and any(
            parent.__module__.startswith("pytorch_lightning") for parent in cls.mro()
        )
        subclass = f"name a subclass of {str(KINDS[kind].base).replace(':', '.')}"
        hint = "take it from the package lightning.pytorch" if is_old_package else subclass
        raise AeframeError(f"{key}: '{path}' is not a Lightning {kind}; {hint}")
    return cls


@functools.cache
def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of the constructor that can be passed by name, and ``**kwargs``."""
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY)}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no reason given"


def build_callbacks(config: Mapping[str, Mapping[str, Any]]) -> list[Callback]:
    """Return the callbacks of ``config["callbacks"]``, in its order.

    Raises:
        AeframeError: A callback cannot be imported or built.
    """
    return [
        build_class("callback", f"callbacks.{label}", part) if CLASS in part else build("callback", part)
        for label, part in config.items()
    ]


def build_loggers(config: Mapping[str, Mapping[str, Any]], *, folder: Path, run_name: str) -> list[Logger]:
    """Return the loggers of ``config["logger"]``, in its order.

    Args:
        config: ``{label: {name: ..., options}}``, or ``{label: {class: ..., options}}``.
        folder: The run folder; the value of `save_dir` and `root_dir` where a class path sets neither.
        run_name: The run's name in the experiment tracker.

    Raises:
        AeframeError: A logger cannot be imported or built.
    """
    return [
        build_class("logger", f"logger.{label}", part, save_dir=str(folder), root_dir=str(folder))
        if CLASS in part
        else build("logger", part, folder=folder, run_name=run_name)
        for label, part in config.items()
    ]
