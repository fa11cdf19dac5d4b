"""Format the types and values of the options of parts in YAML notation, for help texts.

A part is one named component of a run, such as the loss ``mse``; its kind is ``loss``.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aeframe.factory import Option, part_kind


def option_type(kind: str, option: Option) -> Any:
    """Return the type of an option in a config: its annotation, except that ``optimizer.lr`` is a schedule."""
    if (kind, option.name) != ("optimizer", "lr"):
        return option.annotation
    # The parts import torch, which listings of other kinds do not need.
    from aeframe.parts.schedules import Schedule

    return Schedule


def format_type(annotation: Any) -> str:
    """Return a type in YAML notation: ``full | diag``, ``[int, ...] | null``, ``schedule`` for a kind of part."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is type(None):
        return "null"
    if annotation is Any:
        return "anything"
    if annotation is Path:
        return "path"
    if origin is typing.Literal:
        return " | ".join(format_value(value) for value in inner)
    if origin in (typing.Union, types.UnionType):
        # Parts of torch accept a number or a tensor; a config can contain only the number.
        members = [member for member in inner if getattr(member, "__name__", "") != "Tensor"]
        return " | ".join(dict.fromkeys(format_type(member) for member in members))
    if origin is not None and issubclass(origin, Mapping):
        return "{" + ": ".join(format_type(argument) for argument in inner) + "}"
    if origin is not None and issubclass(origin, Sequence):
        items = [format_type(argument) for argument in inner if argument is not Ellipsis]
        return f"[{items[0]}, ...]" if Ellipsis in inner or origin is not tuple else f"[{', '.join(items)}]"
    if (kind := part_kind(annotation)) is not None:
        return str(getattr(kind, "part_kind", kind.__name__))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def format_value(value: Any) -> str:
    """Return a plain value as YAML on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {format_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(format_value(item) for item in value)}]"
    return str(value) if value != "" else "''"
