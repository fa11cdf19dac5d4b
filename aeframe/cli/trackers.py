"""The option ``--log`` of verbs that send their results to the trackers of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


@contextmanager
def trackers_of(path: Path) -> Iterator[list[Logger]]:
    """Open the trackers of a run, such as ``logger=wandb``, under the ids of the run; close them afterwards.

    Loggers that the run names by a class path are left out, so that the config of a stranger's run runs no code.

    Raises:
        AeframeError: There is no run at `path`, it has no tracker, or the package of one is missing.
    """
    from aeframe.experiment.callbacks_and_loggers import CLASS, build_loggers
    from aeframe.runs.folder import RunFolder
    from aeframe.training.loggers import close_loggers

    folder = RunFolder.open(path)
    config: Mapping[str, Mapping[str, object]] = folder.read_config().get("logger") or {}
    named = {label: part for label, part in config.items() if CLASS not in part}
    if not named:
        raise AeframeError(f"--log needs a run with a tracker, and run '{path}' has none; train it with logger=NAME")
    loggers = build_loggers(named, folder=folder.path, run_name=folder.path.name)
    status = "failed"
    try:
        yield loggers
        status = "success"
    finally:
        close_loggers(loggers, status=status)
