"""Types and values as a config writes them: ``null`` for None, a list for a tuple, a kind of part by its name."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aeframe.factory import Option, part_kind


def option_type(kind: str, option: Option) -> Any:
    """Return the annotation that a config is held to: a player reads an optimiser's `lr` as a schedule."""
    if (kind, option.name) != ("optimizer", "lr"):
        return option.annotation
    from aeframe.parts.schedules import Schedule

    return Schedule


def written(annotation: Any) -> str:
    """Return an annotation in the words of a config: ``full | diag``, ``[int, ...] | null``, ``schedule``."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is type(None):
        return "null"
    if annotation is Any:
        return "anything"
    if annotation is Path:
        return "path"
    if origin is typing.Literal:
        return " | ".join(shown(value) for value in inner)
    if origin in (typing.Union, types.UnionType):
        # A config cannot hold a tensor, which torch's own parts take beside a number.
        plain = [each for each in inner if getattr(each, "__name__", "") != "Tensor"]
        return " | ".join(dict.fromkeys(written(each) for each in plain))
    if origin is not None and issubclass(origin, Mapping):
        return "{" + ": ".join(written(each) for each in inner) + "}"
    if origin is not None and issubclass(origin, Sequence):
        each = [written(one) for one in inner if one is not Ellipsis]
        return f"[{each[0]}, ...]" if Ellipsis in inner or origin is not tuple else f"[{', '.join(each)}]"
    if (kind := part_kind(annotation)) is not None:
        return str(getattr(kind, "part_kind", kind.__name__))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def shown(value: Any) -> str:
    """Return a plain value on one line as YAML has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(shown(each) for each in value)}]"
    return str(value) if value != "" else "''"
