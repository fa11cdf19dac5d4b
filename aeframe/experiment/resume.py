"""Go on with a run: its own config, with nothing changed but how long and where it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aeframe.errors import AeframeError
from aeframe.experiment.validate import validated
from aeframe.runs.folder import RunFolder

MAY_CHANGE = (
    "max_epochs",
    "max_batches",
    "patience",
    "log_every",
    "steps_per_call",
    "workers",
    "trainer",
    "metrics",
    "callbacks",
    "logger",
    "pictures",
    "progress",
)
"""What a resumed run may set anew; anything else would make it another run."""


def resumes(overrides: Sequence[str]) -> bool:
    """Say whether the words of a command line go on with a run."""
    return any(word.startswith("resume=") and word != "resume=null" for word in overrides)


def continued(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the config of the run that ``resume=FOLDER`` names, with the other overrides applied.

    Raises:
        AeframeError: No such run, no checkpoint in it, or an override of what makes the run what it is.
    """
    path = next(word.partition("=")[2] for word in overrides if word.startswith("resume="))
    folder = RunFolder.open(path.strip("'\""))
    if not folder.last.is_file():
        raise AeframeError(
            f"run '{folder.path}' has no checkpoint '{folder.last.relative_to(folder.path)}' to go on from; "
            "it ended before its first epoch did, so begin it anew"
        )
    changes = [word.lstrip("+") for word in overrides if not word.startswith("resume=")]
    for change in changes:
        key = change.partition("=")[0].partition(".")[0].lstrip("~")
        if key not in MAY_CHANGE:
            raise AeframeError(
                f"a run that goes on keeps its '{key}'; "
                f"what may change is {', '.join(MAY_CHANGE)}; begin a new run for anything else"
            )
    try:
        merged = OmegaConf.merge(OmegaConf.create(folder.read_config()), OmegaConf.from_dotlist(changes))
    except OmegaConfBaseException as error:
        raise AeframeError(f"the overrides {' '.join(changes)} cannot be read: {error}") from error
    plain: Any = OmegaConf.to_container(merged, resolve=True)
    return validated({**plain, "folder": None, "resume": str(folder.path)})
