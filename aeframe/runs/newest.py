"""Find the newest readable checkpoint of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError
from aeframe.runs.folder import RunFolder
from aeframe.training.checkpoint import DamagedCheckpointError, publish_copy, read_checkpoint
from aeframe.training.run_checkpoints import RunCheckpoints


@dataclass(frozen=True, slots=True)
class NewestCheckpoint:
    """A checkpoint to resume from."""

    path: Path
    checkpoint: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    """A sentence for each newer checkpoint that could not be read."""

    @property
    def progress(self) -> dict[str, int]:
        """The training progress, in plain numbers."""
        found: dict[str, int] = self.checkpoint["aeframe"]["progress"]
        return found

    @property
    def run_state(self) -> dict[str, Any]:
        """The state of `RunCheckpoints`; ``{}`` in a checkpoint of another Trainer."""
        found: dict[str, Any] = self.checkpoint.get("callbacks", {}).get(RunCheckpoints.__qualname__, {})
        return found

    @property
    def stopped(self) -> bool:
        """Whether training was stopped before its planned end, by patience or a time limit."""
        return bool(self.run_state.get("stopped", False))

    def promote(self, folder: RunFolder) -> None:
        """Make this checkpoint ``last.ckpt``, in place of a missing or damaged one; ``best.ckpt`` is kept."""
        if self.path == folder.previous:
            os.replace(self.path, folder.last)
        elif self.path != folder.last:
            folder.last.unlink(missing_ok=True)
            publish_copy(self.path, folder.last)


def newest_checkpoint(folder: RunFolder) -> NewestCheckpoint | None:
    """Return the newest readable checkpoint of a run, or None for a run without checkpoints.

    If ``last.ckpt`` is damaged, a note is added, and the previous checkpoint is tried, then the best one.

    Raises:
        AeframeError: None of the checkpoints can be read.
    """
    notes: list[str] = []
    candidates = [path for path in (folder.last, folder.previous, folder.best) if path.is_file()]
    for path in candidates:
        try:
            found = read_checkpoint(path)
        except DamagedCheckpointError as error:
            notes.append(str(error).partition(";")[0])
            continue
        if notes:
            batch = found["aeframe"]["progress"]["batch"]
            notes[-1] += f"; resuming from '{path.name}' instead, at batch {batch}"
        elif path != folder.last:
            notes.append(f"there is no '{folder.last.name}'; resuming from '{path.name}' instead")
        return NewestCheckpoint(path, found, notes)
    if candidates:
        raise AeframeError(f"{notes[0]}; no checkpoint of run '{folder.path}' can be read; start a new run")
    return None
