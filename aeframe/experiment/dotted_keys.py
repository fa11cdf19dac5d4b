"""Read and set values of nested mappings by dotted key, such as ``latent.dim``."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = object()
"""The value of a key that a mapping does not have."""


def get_value(config: Any, key: str) -> Any:
    """Return the value at a dotted key, or `ABSENT`."""
    for name in key.split("."):
        if not isinstance(config, Mapping) or name not in config:
            return ABSENT
        config = config[name]
    return config


def set_value(config: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key. A mapping is merged into an existing one; `ABSENT` removes the key."""
    *parents, last = key.split(".")
    for name in parents:
        if not isinstance(config.get(name), dict):
            config[name] = {}
        config = config[name]
    if value is ABSENT:
        config.pop(last, None)
    elif isinstance(value, Mapping) and isinstance(config.get(last), dict):
        config[last] = {**config[last], **value}
    else:
        config[last] = copy.deepcopy(value)


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all values of nested mappings with their dotted keys, each with `prefix` in front.

    An empty mapping is yielded as a value, and so is one with a ``name``: a part ``{name: mse, ...}`` is not split into
    its options.
    """
    for name, value in config.items():
        if isinstance(value, Mapping) and value and "name" not in value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
