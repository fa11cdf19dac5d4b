"""Experiment trackers, imported only when chosen; their options are what a config may set."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import Logger

from aeframe.errors import AeframeError


def wandb(
    folder: Path,
    run_name: str,
    *,
    project: str = "aeframe",
    entity: str | None = None,
    mode: Literal["online", "offline", "disabled"] = "online",
    tags: tuple[str, ...] = (),
) -> Logger:
    """Log to Weights & Biases; ``mode=offline`` writes below the run folder only."""
    _need("wandb")
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(
        name=run_name, save_dir=folder, project=project, entity=entity, mode=mode, tags=list(tags), log_model=False
    )


def tensorboard(folder: Path, run_name: str) -> Logger:
    """Log to TensorBoard files in the run folder."""
    _need("tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)


def mlflow(folder: Path, run_name: str, *, experiment: str = "aeframe", uri: str | None = None) -> Logger:
    """Log to MLflow; with no `uri` into an SQLite file in the run folder, since its file store refuses to be used."""
    _need("mlflow")
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger(experiment, run_name=run_name, tracking_uri=uri or f"sqlite:///{folder / 'mlflow.db'}")


def _need(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise AeframeError(
            f"logger '{package}' needs the package {package}, which is not installed; "
            f"run pip install 'aeframe[{package}]'"
        ) from error
