"""Record the points of a sweep (``-m``), and write the summary of the sweep at its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from aeframe.errors import AeframeError


class PointRecord:
    """The record of one point in the folder of its sweep; only the first process of a run writes it."""

    def __init__(self, sweep: Path, number: int, overrides: Sequence[str]) -> None:
        from aeframe.runs.sweep import SweepPoint

        self.number = number
        self._sweep = sweep
        self._point = SweepPoint(number, tuple(overrides), "training")
        self._write()

    def begin(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config of the run, whose folder is made in that of the sweep unless it was chosen."""
        from aeframe.experiment.run_setup import monitor_mode

        mode: Literal["min", "max"] = "max" if monitor_mode(config) == "max" else "min"
        self._write(monitor=str(config["monitor"]), mode=mode)
        return {**config, "root": str(self._sweep)}

    def finish(self, folder: Path, monitored: float) -> None:
        """Record a finished run."""
        self._write(status="finished", folder=str(folder), monitored=monitored)

    def fail(self, error: str) -> None:
        """Record an error."""
        self._write(status="failed", error=error)

    def _write(self, **changes: Any) -> None:
        from aeframe.runs.sweep import write_point

        self._point = replace(self._point, **changes)
        # Slurm numbers the processes of a run on several devices; others have a local rank.
        if os.environ.get("SLURM_PROCID", os.environ.get("LOCAL_RANK", "0")) == "0":
            write_point(self._sweep, self._point)


@contextmanager
def recorded_point(sweep: Path, number: int, overrides: Sequence[str]) -> Iterator[PointRecord]:
    """Record a point of a sweep: its beginning, and an unexpected exception, which is raised again."""
    record = PointRecord(sweep, number, overrides)
    try:
        yield record
    except Exception as error:
        record.fail(f"{type(error).__name__}: {' '.join(str(error).split())}")
        raise


@contextmanager
def summarized_sweep(folder: Path) -> Iterator[None]:
    """Write and print the summary of a sweep at its end, also after an exception.

    The summary is made of the files in the folders of the sweep and of its runs, so that it does not depend on where a
    launcher ran them.
    """
    try:
        yield
    finally:
        from aeframe.runs.sweep import write_summary

        try:
            write_summary(folder)
        except (AeframeError, OSError) as error:
            print(f"warning: the sweep '{folder}' has no summary: {error}", file=sys.stderr)
