"""Build loggers for experiment trackers: Weights & Biases, TensorBoard, MLflow and trackio.

The package of a tracker is imported only if the tracker is chosen. The id of a run in its tracker is stored in the run
folder, so that a resumed run continues under the same id.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from aeframe.errors import AeframeError
from aeframe.plain_files import read_mapping
from aeframe.training.trackio_logger import TrackioLogger

_ID_FILE = "tracker_ids.json"


def wandb(
    folder: Path,
    run_name: str,
    *,
    project: str = "aeframe",
    entity: str | None = None,
    mode: Literal["online", "offline", "disabled"] = "online",
    tags: tuple[str, ...] = (),
    group: str | None = None,
) -> Logger:
    """Log to Weights & Biases; with ``mode=offline`` it only writes to the run folder."""
    _require("wandb")
    run_id = _read_ids(folder).get("wandb") or uuid.uuid4().hex[:8]
    _write_id(folder, "wandb", run_id)
    return WandbLogger(
        name=run_name,
        id=run_id,
        save_dir=folder,
        project=project,
        entity=entity,
        mode=mode,
        tags=list(tags),
        group=group,
        log_model=False,
    )


def tensorboard(folder: Path, run_name: str) -> Logger:
    """Log to TensorBoard files in the run folder."""
    _require("tensorboard")
    return TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)


def mlflow(
    folder: Path,
    run_name: str,
    *,
    experiment: str = "aeframe",
    uri: str | None = None,
    tags: dict[str, str] | None = None,
) -> Logger:
    """Log to MLflow; without a `uri`, to an SQLite file in the run folder."""
    _require("mlflow")
    tracking_uri = uri or f"sqlite:///{folder / 'mlflow.db'}"
    run_id = _read_ids(folder).get("mlflow")
    logger_class = MLFlowLogger if run_id is None else _ResumedMLFlowLogger
    # By default MLflow would write pictures to the working directory.
    artifacts = (folder.absolute() / "mlflow").as_uri() if uri is None else None
    logger = logger_class(
        experiment, run_name=run_name, tracking_uri=tracking_uri, tags=tags, run_id=run_id, artifact_location=artifacts
    )
    if run_id is None and is_first_process():
        _write_id(folder, "mlflow", str(logger.run_id))
    return logger


def trackio(folder: Path, run_name: str, *, project: str = "aeframe", group: str | None = None) -> Logger:
    """Log to trackio's files in the run folder; nothing is sent to another host.

    ``TRACKIO_DIR=RUN/trackio trackio show`` opens the dashboard of a run.
    """
    # It is not imported here: it would read its folder from the environment of this process.
    if importlib.util.find_spec("trackio") is None:
        raise _missing("trackio")
    return TrackioLogger(folder / "trackio", project=project, run_name=run_name, group=group)


class _ResumedMLFlowLogger(MLFlowLogger):
    """An MLflow logger that logs no hyper-parameters again: MLflow rejects changes such as a larger ``max_epochs``."""

    def log_hyperparams(self, params: Any) -> None:
        """Do nothing."""


def log_pictures(loggers: Sequence[Logger], pictures: Sequence[Path], step: int) -> None:
    """Send the pictures of a run to every tracker that supports images."""
    for logger in loggers:
        for picture in pictures:
            name = f"pictures/{picture.stem}"
            if isinstance(logger, WandbLogger):
                logger.log_image(name, [str(picture)], step=step)
            elif isinstance(logger, TensorBoardLogger):
                from matplotlib.image import imread

                logger.experiment.add_image(name, imread(picture)[..., :3], step, dataformats="HWC")
            elif isinstance(logger, MLFlowLogger):
                logger.experiment.log_artifact(logger.run_id, str(picture), "pictures")
            elif isinstance(logger, TrackioLogger):
                logger.log_picture(name, picture, step)


def log_page(loggers: Sequence[Logger], name: str, page: Path, step: int) -> list[str]:
    """Send an HTML page to every tracker that stores pages; return the names of their classes."""
    sent = []
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            from wandb import Html

            logger.experiment.log({name: Html(page.read_text(encoding="utf-8"), inject=False)}, step=step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(page))
        elif isinstance(logger, TrackioLogger):
            logger.log_page(name, page.read_text(encoding="utf-8"), step)
        else:
            continue
        sent.append(type(logger).__name__.strip("_").removesuffix("Logger"))
    return sent


def close_loggers(loggers: Sequence[Logger], *, status: str) -> None:
    """End the run in every tracker, so that the next run of this process starts a new one."""
    for logger in loggers:
        with contextlib.suppress(OSError):
            logger.finalize(status)
        if isinstance(logger, WandbLogger) and is_first_process():
            logger.experiment.finish(exit_code=0 if status == "success" else 1)
        if isinstance(logger, TrackioLogger):
            logger.close()


def is_first_process() -> bool:
    """Return whether this is the first process of the run, which writes its files."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _read_ids(folder: Path) -> Mapping[str, str]:
    path = folder / _ID_FILE
    try:
        return read_mapping(path) if path.is_file() else {}
    except AeframeError:
        return {}


@rank_zero_only
def _write_id(folder: Path, tracker: str, run_id: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**_read_ids(folder), tracker: run_id}) + "\n"
    (folder / _ID_FILE).write_text(text, encoding="utf-8")


def _require(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise _missing(package) from error


def _missing(package: str) -> AeframeError:
    return AeframeError(
        f"logger '{package}' needs the package {package}, which is not installed; run pip install 'aeframe[{package}]'"
    )
