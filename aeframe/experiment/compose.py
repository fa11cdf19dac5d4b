"""Compose the config of a run from overrides, with Hydra, and validate it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aeframe.errors import AeframeError
from aeframe.experiment.composition.loader import CONFIG, Loader, task_config
from aeframe.experiment.composition.shared_loader import shared_loader
from aeframe.experiment.pinned import with_overrides
from aeframe.experiment.resume import AUTO, with_changes
from aeframe.experiment.validation import validated
from aeframe.runs.folder import RunFolder


def compose(
    overrides: Sequence[str] = (), *, config_dir: Path | None = None, pinned: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the config of one run: the one that ``aeframe-train`` uses with the same overrides.

    ``compose(["model=vae", "data=digits", "latent.dim=8"])["latent"]`` is ``{"name": "gaussian", "dim": 8, ...}``.
    With ``resume=FOLDER`` it is the stored config of that run, updated with the overrides that resume can change.

    Args:
        overrides: In Hydra's grammar: ``loss=mse``, ``latent.dim=8``.
        config_dir: The folder of the user's own option files; by default ``./configs``, if present.
        pinned: The stored config of a run; the overrides change it, instead of the defaults.

    Returns:
        Plain values: ``model``, one ``{name: ..., options}`` for each part, and every setting of `RunSettings`.

    Raises:
        AeframeError: An unknown key, name or option, a missing value, or one of another type.
    """
    if pinned is not None:
        return composed_by(Loader(config_dir, pinned=pinned), overrides)
    return composed_by(shared_loader(config_dir, tuple(overrides)), overrides)


def composed_by(loader: Loader, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the config of one run like `compose`; a loader composes what several runs have in common once."""
    config = loader.load_configuration(CONFIG, list(overrides), RunMode.RUN)
    return resolve(config, overrides_of(config.hydra), loader)


def resolve(config: DictConfig, overrides: Sequence[str], loader: Loader) -> dict[str, Any]:
    """Return the complete, validated config of a run, in plain values.

    For a resumed run it is the stored config, with ``resume`` set to the run's folder and ``folder`` to None.

    Args:
        config: The config that `loader` composed.
        overrides: The overrides that it was composed from.
        loader: The loader that composed it.

    Raises:
        AeframeError: See `compose`.
    """
    composed = task_config(config)
    if loader.pinned is not None:
        composed = with_overrides(loader.pinned, composed, overrides, loader)
    resume = composed.get("resume")
    if resume is None or isinstance(resume, bool) or resume == AUTO:
        # `aeframe.experiment.start` finds the folder when the run starts.
        return validated(composed)
    folder = RunFolder.open(str(resume))
    updated = with_changes(stored_config(folder), composed, overrides, loader)
    return validated({**updated, "folder": None, "resume": str(folder.path)})


def stored_config(folder: RunFolder) -> dict[str, Any]:
    """Return the validated config of a run.

    Raises:
        AeframeError: The config cannot be read, or does not fit the installed parts.
    """
    try:
        return validated(folder.read_config())
    except AeframeError as error:
        raise AeframeError(f"the config of run '{folder.path}' cannot be used here: {error}") from error


def overrides_of(hydra: Any) -> list[str]:
    """Return the overrides in the node ``hydra`` of a composed config, as they were written."""
    lines: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return [str(line) for line in lines or ()]
