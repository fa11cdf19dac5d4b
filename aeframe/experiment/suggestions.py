"""The parts that an error message recommends, as overrides to type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aeframe.errors import AeframeError
from aeframe.factory import accepts, defaults, signature
from aeframe.registry import registry


def suggestion(
    kind: str, fits: Callable[[Any], bool], *, first: str | None = None, replaced: Mapping[str, Any] | None = None
) -> str:
    """Return ``"choose loss=mae or mse"``: the names of all registered parts that fit and can be imported.

    A part that wraps a module of the user's program has no name to choose. The name `first` comes first, if it fits.
    Options of the part `replaced`, such as those of a recipe, that do not fit the parts are dropped:
    ``"choose loss=mixed with '~loss.variance'"``.
    """
    names = []
    for name in registry().names(kind):
        try:
            part = registry().load(kind, name)
        except AeframeError:
            continue
        if fits(part) and "module" not in signature(part).injected:
            names.append(name)
    names.sort(key=lambda name: name != first)
    if not names:
        return f"no {kind} that is installed fits"
    return f"choose {kind}={alternatives(names)}{_without_options(kind, replaced or {}, names)}"


def _without_options(kind: str, replaced: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return ``" with '~loss.variance'"`` for options of a part that others do not accept, or an empty string."""
    own = defaults(kind, replaced["name"]) if replaced else {}
    dropped = [
        f"'~{kind}.{option}'"
        for option, value in replaced.items()
        if value != own.get(option) and not all(accepts(kind, name, option, value) for name in names)
    ]
    return f" with {' '.join(dropped)}" if dropped else ""


def alternatives(names: Sequence[str]) -> str:
    """Return ``"a, b or c"``."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
