"""Build the callbacks of a run: registered ones by name, any other by class path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.callbacks import Callback

from aeframe.errors import AeframeError
from aeframe.experiment.class_paths import CLASS, build_class
from aeframe.factory import build


def build_callbacks(config: Mapping[str, Mapping[str, Any]]) -> list[Callback]:
    """Return the callbacks of ``config["callbacks"]``, in its order.

    Raises:
        AeframeError: A callback that cannot be imported or built, by its label.
    """
    return [_build(f"callbacks.{label}", part) for label, part in config.items()]


def _build(key: str, part: Mapping[str, Any]) -> Callback:
    found = build_class("callback", key, part) if CLASS in part else build("callback", part)
    if not isinstance(found, Callback):
        raise AeframeError(
            f"{key}: callback '{part['name']}' returned {type(found).__name__}, expected a "
            "lightning.pytorch.callbacks.Callback; change what its plugin registers"
        )
    return found
