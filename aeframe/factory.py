"""Build parts from names: the signature of a part is the schema of its options.

A parameter **without a default, before the** ``*``, is *injected by the framework, by name* (the data's shape, the
encoder that was built, ...). Every other parameter is an *option*. An option annotated with a kind of part (`Schedule`,
`MakeActivation`, ...) is itself a name, a number or ``{name: ..., options}``; ``null`` stands for the run's own part of
that kind. Imports nothing heavy, so that listings stay cheap.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError, did_you_mean
from aeframe.kinds import KINDS
from aeframe.registry import registry

REQUIRED = inspect.Parameter.empty
# A part that inherits its constructor from a library's base class, such as nn.Module's, has no options there.
_LIBRARIES = frozenset({"torch", "torchmetrics", "lightning"})
_RESTORING: ContextVar[bool] = ContextVar("aeframe_restoring", default=False)


@contextmanager
def restored_weights() -> Iterator[None]:
    """Build parts inside for weights that are loaded afterwards: no part reads pretrained weights from a file.

    A saved model can thus be opened where that file is missing.
    """
    token = _RESTORING.set(True)
    try:
        yield
    finally:
        _RESTORING.reset(token)


def restoring() -> bool:
    """Return whether parts are built inside `restored_weights`."""
    return _RESTORING.get()


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a part, read from its signature."""

    name: str
    annotation: Any
    default: Any
    """`REQUIRED` where a value must be given."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The constructor of a part: arguments that the framework injects, and options that a user may set."""

    injected: tuple[str, ...]
    options: dict[str, Option]


@functools.cache
def signature(target: Any) -> Signature:
    """Read a part's constructor.

    Raises:
        AeframeError: It takes ``*args`` or ``**kwargs``, which no config could describe.
    """
    call = target.__init__ if inspect.isclass(target) else target
    hints = _type_hints(call)
    injected: list[str] = []
    options: dict[str, Option] = {}
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if call.__module__.partition(".")[0] in _LIBRARIES:
                continue
            raise AeframeError(
                f"{target.__module__}.{target.__qualname__} takes '*{parameter.name}', "
                "but a part's constructor names every option; write them out"
            )
        if parameter.default is REQUIRED and parameter.kind is not parameter.KEYWORD_ONLY:
            injected.append(parameter.name)
        else:
            annotation = hints.get(parameter.name, Any)
            options[parameter.name] = Option(parameter.name, annotation, parameter.default)
    return Signature(tuple(injected), options)


def _type_hints(call: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(call)
    except NameError:
        # A name imported under TYPE_CHECKING only: that option is not checked, the others are.
        return {name: hint for name in call.__annotations__ for hint in _type_hint(call, name)}


def _type_hint(call: Any, name: str) -> list[Any]:
    single = types.SimpleNamespace(__annotations__={name: call.__annotations__[name]})
    try:
        return [typing.get_type_hints(single, call.__globals__)[name]]
    except NameError:
        return []


def part_kind(annotation: Any) -> type | None:
    """Return the part type inside an annotation (``Schedule | None`` -> ``Schedule``), or None."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        found = [kind for each in typing.get_args(annotation) if (kind := part_kind(each)) is not None]
        return found[0] if found else None
    return annotation if isinstance(annotation, type) and "part_kind" in dir(annotation) else None


def defaults(kind: str, name: str) -> dict[str, Any]:
    """Return ``{name: ..., option: default}`` in plain values, as a config shows a part; ``???`` where required."""
    chosen: dict[str, Any] = {"name": name}
    for option in signature(registry().load(kind, name)).options.values():
        chosen[option.name] = "???" if option.default is REQUIRED else _plain(option.default)
    return chosen


def path_options(kind: str, name: str) -> list[str]:
    """Return the options of a part that are annotated with `pathlib.Path`, alone or in a union."""
    options = signature(registry().load(kind, name)).options.values()
    return [
        option.name for option in options if option.annotation is Path or Path in typing.get_args(option.annotation)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if hasattr(value, "plain"):
        return value.plain()
    if isinstance(value, Path):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, list, type(None))) else None


def build(kind: str, config: str | Mapping[str, Any], /, **injected: Any) -> Any:
    """Build the part that `config` names (``"mse"`` or ``{"name": "mse", ...}``).

    Args:
        kind: A name of `aeframe.kinds.KINDS`.
        config: Name and options.
        injected: Arguments that a constructor of this kind may take; its signature selects some by name.

    Raises:
        AeframeError: An unknown name or option, a value of another type, a missing option, an argument that is not
            injected, a class that lacks a method, or an object of another class than the kind's.
    """
    options = {"name": config} if isinstance(config, str) else dict(config)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise AeframeError(f"{kind} has no name; write {kind}: {{name: ...}} with one of the known names")
    target = registry().load(kind, name)
    found = signature(target)
    who = f"{kind} '{name}'"
    unknown = next((option for option in options if option not in found.options), None)
    if unknown is not None:
        known = ", ".join(found.options) or "none"
        raise AeframeError(
            f"{who} has no option '{unknown}'{did_you_mean(unknown, found.options)}; its options are {known}"
        )
    missing = [name for name in found.injected if name not in injected]
    if missing:
        raise AeframeError(
            f"{who} has a constructor argument '{missing[0]}', which is not available to a {kind}"
            f"{did_you_mean(missing[0], injected)}; available are {', '.join(sorted(injected)) or 'none'}"
        )
    arguments: dict[str, Any] = {name: injected[name] for name in found.injected}
    for option in found.options.values():
        if option.name in options:
            arguments[option.name] = _value(who, option, options[option.name], injected)
        elif option.default is REQUIRED:
            raise AeframeError(f"{who} needs a value for '{option.name}'; set {kind}.{option.name}=...")
        elif part_kind(option.annotation) is not None:
            arguments[option.name] = _value(who, option, option.default, injected)
    if lacking := sorted(getattr(target, "__abstractmethods__", ())):
        raise AeframeError(
            f"{who} is unfinished: {target.__module__}.{target.__qualname__} does not define {', '.join(lacking)}, "
            "which its base class leaves open; define it"
        )
    part = target(**arguments)
    if not isinstance(part, base := KINDS[kind].base_class()):
        raise AeframeError(
            f"{who} built a {type(part).__name__}, expected a subclass of {base.__module__}.{base.__qualname__}"
        )
    return part


def _value(who: str, option: Option, value: Any, injected: Mapping[str, Any]) -> Any:
    """Check one option's value against its annotation, and build it where it is a part."""
    if isinstance(value, str) and value == "???":
        raise AeframeError(f"{who} needs a value for '{option.name}'")
    nested: Any = part_kind(option.annotation)
    if nested is None:
        return _checked(who, option, value)
    if isinstance(value, nested):
        return value
    if value is None:
        return injected.get(nested.part_kind)
    try:
        return nested.from_config(value, build)
    except AeframeError as error:
        raise AeframeError(f"{who}, option '{option.name}': {error}") from error


def _checked(who: str, option: Option, value: Any) -> Any:
    import pydantic

    try:
        return _adapter(option.annotation).validate_python(value)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        # Names in the path are members of a union, which mean nothing to a user.
        where = ".".join([option.name, *(str(part) for part in first["loc"] if isinstance(part, int))])
        raise AeframeError(
            f"{who}: option '{where}' expects {_readable(option.annotation)}, found {value!r} ({first['msg']})"
        ) from None


@functools.cache
def _adapter(annotation: Any) -> Any:
    import pydantic

    try:
        return pydantic.TypeAdapter(annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True))
    except pydantic.PydanticUserError:
        return pydantic.TypeAdapter(annotation)


def _readable(annotation: Any) -> str:
    plain = isinstance(annotation, type) and not typing.get_args(annotation)
    return annotation.__name__ if plain else str(annotation).replace("typing.", "")
