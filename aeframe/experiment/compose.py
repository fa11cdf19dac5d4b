"""From overrides to the plain config of one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig

from aeframe.experiment.loader import CONFIG, Loader, task_config
from aeframe.experiment.validate import validated


def compose(overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> dict[str, Any]:
    """Compose the config of one run, as ``aeframe-train`` does with the same words.

    ``compose(["model=vae", "data=digits", "latent.dim=8"])["latent"]`` is ``{"name": "gaussian", "dim": 8, ...}``.

    Args:
        overrides: In Hydra's grammar.
        config_dir: The user's own options; by default ``./configs``, if present.

    Returns:
        Plain values only: ``model``, one ``{name: ..., options}`` for each part, and every setting of `RunSettings`.

    Raises:
        AeframeError: Anything unknown, missing, of another type or unreadable, in one sentence.
    """
    return resolve(Loader(config_dir).load_configuration(CONFIG, list(overrides), RunMode.RUN))


def resolve(config: DictConfig) -> dict[str, Any]:
    """Turn what Hydra composed into the plain, complete and validated config of a run.

    Raises:
        AeframeError: See `compose`.
    """
    return validated(task_config(config))
