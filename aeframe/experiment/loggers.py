"""Build the loggers of a run: registered ones by name, any other by class path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from aeframe.errors import AeframeError
from aeframe.experiment.class_paths import CLASS, build_class
from aeframe.factory import build


def build_loggers(config: Mapping[str, Mapping[str, Any]], *, folder: Path, run_name: str) -> list[Logger]:
    """Return the loggers of ``config["logger"]``, in its order.

    Args:
        config: ``{label: {name: ..., options}}``, or ``{label: {class: ..., options}}``.
        folder: The run folder. A class that takes `save_dir` or `root_dir`, and was given none, writes below it.
        run_name: The run's name in the tracker.

    Raises:
        AeframeError: A logger that cannot be imported or built, by its label.
    """
    return [_build(f"logger.{label}", part, folder, run_name) for label, part in config.items()]


def _build(key: str, part: Mapping[str, Any], folder: Path, run_name: str) -> Logger:
    found = (
        build_class("logger", key, part, save_dir=str(folder), root_dir=str(folder))
        if CLASS in part
        else build("logger", part, folder=folder, run_name=run_name)
    )
    if not isinstance(found, Logger):
        raise AeframeError(
            f"{key}: logger '{part['name']}' returned {type(found).__name__}, expected a "
            "lightning.pytorch.loggers.Logger; change what its plugin registers"
        )
    return found
