"""Compose the config of a run from overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aeframe.experiment.composition.loader import CONFIG, Loader, task_config
from aeframe.experiment.resume import resumed_config
from aeframe.experiment.validation import validated


def compose(overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> dict[str, Any]:
    """Compose the config of one run, as ``aeframe-train`` does with the same overrides.

    ``compose(["model=vae", "data=digits", "latent.dim=8"])["latent"]`` is ``{"name": "gaussian", "dim": 8, ...}``.
    With ``resume=FOLDER`` it is the stored config of that run, with the settings that may change.

    Args:
        overrides: In Hydra's grammar.
        config_dir: The user's own options; by default ``./configs``, if present.

    Returns:
        Plain values only: ``model``, one ``{name: ..., options}`` for each part, and every setting of `RunSettings`.

    Raises:
        AeframeError: Anything unknown, missing, of another type or unreadable, in one sentence.
    """
    loader = Loader(config_dir)
    config = loader.load_configuration(CONFIG, list(overrides), RunMode.RUN)
    return resolve(config, overrides_of(config.hydra), loader)


def resolve(config: DictConfig, overrides: Sequence[str], loader: Loader) -> dict[str, Any]:
    """Return the plain, complete and validated config of a run from what `loader` composed of `overrides`.

    Raises:
        AeframeError: See `compose`.
    """
    composed = task_config(config)
    if composed.get("resume") is None:
        return validated(composed)
    return resumed_config(composed, overrides, loader)


def overrides_of(hydra: Any) -> list[str]:
    """Return the overrides in the node ``hydra`` of a composed config, as they were written."""
    lines: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return [str(line) for line in lines or ()]
