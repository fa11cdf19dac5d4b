"""Build parts from names: the signature of a part is the schema of its options.

A part is one named component of a run, such as the loss (its kind) ``mse`` (its name).

A positional parameter **without a default** is an argument that the framework *injects by name*, such as the shape of
the data. Every other parameter, also a keyword-only one without a default, is an *option*. The value of an option that
is annotated with a type of part (`Schedule`, `MakeActivation`) is a name, a number or ``{name: ..., options}``;
``null`` means the part of that kind that the framework injects, if there is one.

Imports nothing heavy, so that listings stay cheap.
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

from aeframe.errors import AeframeError, did_you_mean, quoting_hint
from aeframe.kinds import KINDS
from aeframe.registry import registry

REQUIRED = inspect.Parameter.empty
"""The default of an option without a default."""
# Constructors of these libraries, such as that of nn.Module, may take *args and **kwargs: they are ignored.
_LIBRARIES = frozenset({"torch", "torchmetrics", "lightning"})
_RESTORING: ContextVar[bool] = ContextVar("aeframe_restoring", default=False)


@contextmanager
def restored_weights() -> Iterator[None]:
    """Build parts inside without reading pretrained weights from files, since stored weights are loaded afterwards.

    A saved model can thus be opened if such a file is missing.
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
    """`REQUIRED` if there is none."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The constructor of a part: arguments that the framework injects, and options that a user may set."""

    injected: tuple[str, ...]
    options: dict[str, Option]


@functools.cache
def signature(target: Any) -> Signature:
    """Return the signature of a part's class, or of a function that returns a part.

    Raises:
        AeframeError: It takes ``*args`` or ``**kwargs``, so that its options have no names.
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
    """Return the type hints of a function, without those that cannot be resolved."""
    try:
        return typing.get_type_hints(call)
    except NameError:
        # A name is imported under TYPE_CHECKING only: values of that option are not checked.
        return {name: hint for name in call.__annotations__ for hint in _type_hint(call, name)}


def _type_hint(call: Any, name: str) -> list[Any]:
    """Return the type hint of one parameter in a list; an empty list if it cannot be resolved."""
    one_parameter = types.SimpleNamespace(__annotations__={name: call.__annotations__[name]})
    try:
        return [typing.get_type_hints(one_parameter, call.__globals__)[name]]
    except NameError:
        return []


def part_kind(annotation: Any) -> type | None:
    """Return the type of part in an annotation (``Schedule`` for ``Schedule | None``), or None."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        types_of_parts = [kind for member in typing.get_args(annotation) if (kind := part_kind(member)) is not None]
        return types_of_parts[0] if types_of_parts else None
    return annotation if isinstance(annotation, type) and "part_kind" in dir(annotation) else None


def defaults(kind: str, name: str) -> dict[str, Any]:
    """Return ``{name: ..., option: default}`` in plain values; ``???`` for an option without a default."""
    part: dict[str, Any] = {"name": name}
    for option in signature(registry().load(kind, name)).options.values():
        part[option.name] = "???" if option.default is REQUIRED else _plain(option.default)
    return part


def accepts(kind: str, name: str, option: str, value: Any) -> bool:
    """Return whether a part has an option, and this plain value is one of it."""
    found = signature(registry().load(kind, name)).options.get(option)
    if found is None:
        return False
    try:
        _value("", found, value, {})
    except AeframeError:
        return False
    return True


def path_options(kind: str, name: str) -> list[str]:
    """Return the names of a part's options that are annotated with `pathlib.Path`, alone or in a union."""
    options = signature(registry().load(kind, name)).options.values()
    return [
        option.name for option in options if option.annotation is Path or Path in typing.get_args(option.annotation)
    ]


def _plain(value: Any) -> Any:
    """Return a default in the types of YAML; a part as its config, and None for any other object."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
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
        injected: Arguments that are available to constructors of this kind; the signature selects some by name.

    Raises:
        AeframeError: An unknown name or option, a missing value or one of another type, a constructor argument that is
            not available, an abstract class, or an object of another class than that of the kind.
    """
    options = {"name": config} if isinstance(config, str) else dict(config)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise AeframeError(f"{kind} has no name; write {kind}: {{name: ...}} with one of the known names")
    target = registry().load(kind, name)
    constructor = signature(target)
    # The part's name for error messages.
    who = f"{kind} '{name}'"
    unknown = next((option for option in options if option not in constructor.options), None)
    if unknown is not None:
        names = ", ".join(constructor.options) or "none"
        raise AeframeError(
            f"{who} has no option '{unknown}'{did_you_mean(unknown, constructor.options)}; its options are {names}"
        )
    missing = [name for name in constructor.injected if name not in injected]
    if missing:
        raise AeframeError(
            f"{who} has a constructor argument '{missing[0]}', which is not available to a {kind}"
            f"{did_you_mean(missing[0], injected)}; available are {', '.join(sorted(injected)) or 'none'}"
        )
    arguments: dict[str, Any] = {name: injected[name] for name in constructor.injected}
    for option in constructor.options.values():
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
    """Check the value of an option against its annotation; build it if it is a part. `who` is for errors."""
    if isinstance(value, str) and value == "???":
        raise AeframeError(f"{who} needs a value for '{option.name}'")
    nested: Any = part_kind(option.annotation)
    if nested is None:
        return _validated(who, option, value)
    if isinstance(value, nested):
        return value
    if value is None:
        return injected.get(nested.part_kind)
    try:
        return nested.from_config(value, build)
    except AeframeError as error:
        raise AeframeError(f"{who}, option '{option.name}': {error}") from error


def _validated(who: str, option: Option, value: Any) -> Any:
    """Return the value of an option as pydantic converts it to the option's annotation."""
    import pydantic

    try:
        return _adapter(option.annotation).validate_python(value)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        # Of pydantic's path to the wrong value, only indices are kept: its names are members of a union.
        where = ".".join([option.name, *(str(part) for part in first["loc"] if isinstance(part, int))])
        raise AeframeError(
            f"{who}: option '{where}' expects {_readable(option.annotation)}, found {value!r} ({first['msg']})"
            + quoting_hint(first["type"], first["input"])
        ) from None


@functools.cache
def _adapter(annotation: Any) -> Any:
    import pydantic

    # Pydantic rejects a config for types that have a config of their own, such as dataclasses.
    try:
        return pydantic.TypeAdapter(annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True))
    except pydantic.PydanticUserError:
        return pydantic.TypeAdapter(annotation)


def _readable(annotation: Any) -> str:
    is_class = isinstance(annotation, type) and not typing.get_args(annotation)
    return annotation.__name__ if is_class else str(annotation).replace("typing.", "")
