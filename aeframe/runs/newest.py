"""Find the newest readable checkpoint of a run."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError
from aeframe.runs.folder import RunFolder
from aeframe.training.checkpoint import publish_copy, read_checkpoint
from aeframe.training.checkpoint_hash import DamagedCheckpointError
from aeframe.training.run_checkpoints import RunCheckpoints


@dataclass(frozen=True, slots=True)
class NewestCheckpoint:
    """A checkpoint to resume from."""

    path: Path
    checkpoint: dict[str, Any]
    """What the file holds; sharded tensors are on the meta device."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user about newer checkpoints that are missing or cannot be read."""

    @property
    def progress(self) -> dict[str, int]:
        """The state of the `TrainingProgress`: how many batches and epochs were done."""
        progress: dict[str, int] = self.checkpoint["aeframe"]["progress"]
        return progress

    @property
    def run_state(self) -> dict[str, Any]:
        """The state of the callback `RunCheckpoints`; ``{}`` if the checkpoint was written without this callback."""
        state: dict[str, Any] = self.checkpoint.get("callbacks", {}).get(RunCheckpoints.__qualname__, {})
        return state

    @property
    def stopped(self) -> bool:
        """Whether training was stopped before its planned end, by patience or a time limit."""
        return bool(self.run_state.get("stopped", False))

    @property
    def best_value(self) -> float:
        """The best value of the monitored metric; NaN if it was never measured."""
        value = self.run_state.get("best_value")
        return math.nan if value is None else float(value)

    def promote(self, folder: RunFolder) -> None:
        """Make this checkpoint ``last.ckpt``, if it is another one: ``last.ckpt`` is then missing or damaged.

        ``last.previous.ckpt`` is renamed; ``best.ckpt`` is copied, since it is still needed.
        """
        if self.path == folder.previous:
            os.replace(self.path, folder.last)
        elif self.path != folder.last:
            folder.last.unlink(missing_ok=True)
            publish_copy(self.path, folder.last)


def newest_checkpoint(folder: RunFolder) -> NewestCheckpoint | None:
    """Return the newest readable checkpoint of a run, or None for a run without checkpoints.

    The order is ``last.ckpt``, ``last.previous.ckpt``, ``best.ckpt``; a note names the one that is used, and why.

    Raises:
        AeframeError: None of the checkpoints can be read.
    """
    notes: list[str] = []
    candidates = [path for path in (folder.last, folder.previous, folder.best) if path.is_file()]
    for path in candidates:
        try:
            checkpoint = read_checkpoint(path, entries=())
        except DamagedCheckpointError as error:
            notes.append(str(error).partition(";")[0])
            continue
        if notes:
            batch = checkpoint["aeframe"]["progress"]["batch"]
            notes[-1] += f"; resuming from '{path.name}' instead, at batch {batch}"
        elif path != folder.last:
            notes.append(f"there is no '{folder.last.name}'; resuming from '{path.name}' instead")
        return NewestCheckpoint(path, checkpoint, notes)
    if candidates:
        raise AeframeError(f"{notes[0]}; no checkpoint of run '{folder.path}' can be read; start a new run")
    return None
