"""Compose the config of a run from overrides, with Hydra, and validate it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aeframe.errors import AeframeError
from aeframe.experiment.composition.loader import CONFIG, Loader, task_config
from aeframe.experiment.pinned import with_overrides
from aeframe.experiment.resume import AUTO, check_unchanged, with_changes
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
    loader = Loader(config_dir, pinned=pinned)
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
    if resume is None:
        return validated(composed)
    if resume == AUTO:
        return _auto_resumed(composed)
    folder = RunFolder.open(str(resume))
    updated = with_changes(_stored_config(folder), composed, overrides, loader)
    return validated(_resuming(updated, folder))


def _auto_resumed(composed: dict[str, Any]) -> dict[str, Any]:
    """Return the config for ``resume=auto``.

    It is the config of a resumed run if the run's folder has a checkpoint, and that of a new run otherwise.
    """
    if composed.get("folder") is None:
        raise AeframeError("resume=auto requires the run's folder, found none; set folder=PATH")
    config = validated({**composed, "resume": None})
    folder = RunFolder(Path(config["folder"]))
    if not folder.has_checkpoint():
        return config
    check_unchanged(config, _stored_config(RunFolder.open(folder.path)), folder)
    return _resuming(config, folder)


def _stored_config(folder: RunFolder) -> dict[str, Any]:
    try:
        return validated(folder.read_config())
    except AeframeError as error:
        raise AeframeError(f"the config of run '{folder.path}' cannot be used here: {error}") from error


def _resuming(config: dict[str, Any], folder: RunFolder) -> dict[str, Any]:
    """Return a config with its settings of folders set to resume the run in `folder`."""
    return {**config, "folder": None, "resume": str(folder.path)}


def overrides_of(hydra: Any) -> list[str]:
    """Return the overrides in the node ``hydra`` of a composed config, as they were written."""
    lines: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return [str(line) for line in lines or ()]
