"""Choose the folder of a sweep (``-m``) and the points it lacks, record its points, and write its summary."""

from __future__ import annotations

import gc
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict

from aeframe.errors import AeframeError
from aeframe.experiment.resume import AUTO
from aeframe.runs.lock import NAME as LOCK
from aeframe.runs.lock import run_lock
from aeframe.runs.run_id import in_queue
from aeframe.runs.sweep_plan import FILE as PLAN
from aeframe.runs.sweep_plan import SweepPlan, point_key, read_plan, varied_keys, without_folders


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """A sweep that was checked, before it begins."""

    folder: Path
    plan: SweepPlan
    pending: list[list[str]] | None
    """The points to train; None if the sweeper chooses them."""
    num_finished: int
    """Points of this command that are finished already."""


def planned_sweep(config: DictConfig, points: Sequence[Sequence[str]] | None, overrides: Sequence[str]) -> PlannedSweep:
    """Return the folder of a sweep and the points that it has not finished; nothing is written.

    Args:
        config: The config that all points have in common.
        points: The overrides of each point; None if the sweeper chooses them.
        overrides: Those of the command.

    Raises:
        AeframeError: The folder has a sweep already and the command does not continue it, or is no sweep's.
    """
    from aeframe.runs.sweep import finished_points

    if points is not None:
        if {"folder", "resume"} & set(varied_keys(points)):
            raise AeframeError(
                "a sweep has one folder, found several values; set one folder=PATH, the points are in it"
            )
        # Points that are alike are one.
        points = list({point_key(point): without_folders(point) for point in points}.values())
    folder, previous = _folder(config, points)
    finished = {point_key(point.overrides) for point in finished_points(folder)}
    plan = SweepPlan(tuple(each for each in without_folders(overrides) if not each.startswith("hydra.mode=")))
    if previous is not None:
        plan = replace(plan, points=previous.points)
    if points is None:
        numbers = (int(path.stem) for path in (folder / "points").glob("*.json"))
        return PlannedSweep(folder, replace(plan, first=max(numbers, default=-1) + 1), None, 0)
    pending = [list(point) for point in points if point_key(point) not in finished]
    return PlannedSweep(folder, plan.with_points(points), pending, len(points) - len(pending))


def resumed_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a sweep; for ``resume=FOLDER``, those of the sweep in that folder and the others.

    Raises:
        AeframeError: The folder has no sweep.
    """
    resumed = next((each.partition("=")[2] for each in overrides if each.startswith("resume=")), AUTO)
    if resumed in (AUTO, "null", "false"):
        return list(overrides)
    folder = Path(resumed.strip("'\""))
    plan = read_plan(folder)
    if plan is None:
        raise AeframeError(f"resume={folder} has no sweep to continue: expected a folder with {PLAN}; correct the path")
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return [*plan.overrides, *without_folders(overrides), f"folder='{quoted}'", f"resume={AUTO}"]


def _folder(config: DictConfig, points: Sequence[Sequence[str]] | None) -> tuple[Path, SweepPlan | None]:
    """Return the folder of a sweep, and its plan if the sweep is continued."""
    # A job that its queue restarts has the same id, and thus the folder that it began; several sweeps of one job or of
    # one process are numbered.
    is_queued = in_queue()
    resume = config.get("resume")
    if config.get("folder") is not None:
        folder = Path(str(config.folder))
        plan = read_plan(folder)
        if plan is None and folder.exists() and not _is_empty(folder):
            raise AeframeError(f"'{folder}' is no folder of a sweep, and not empty; choose another with folder=PATH")
        if plan is not None and resume != AUTO and not (is_queued and resume is None):
            raise AeframeError(
                f"folder '{folder}' has a sweep of {len(plan.points)} points; continue it with resume=auto, or choose "
                "another with folder=PATH"
            )
        return folder, plan
    first = Path(str(config.hydra.sweep.dir))
    if resume == AUTO and not is_queued:
        raise AeframeError("resume=auto requires the folder of the sweep, found none; set folder=PATH")
    folders = itertools.chain([first], (first.with_name(f"{first.name}.{number}") for number in itertools.count(2)))
    for folder in folders:
        plan = read_plan(folder)
        if plan is None or (is_queued and points is not None and _has_points(plan, points)):
            return folder, plan
    raise AssertionError("the numbers of folders do not end")


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and all(entry.name == LOCK for entry in folder.iterdir())


def _has_points(plan: SweepPlan, points: Sequence[Sequence[str]]) -> bool:
    return {point_key(point) for point in plan.points} == {point_key(point) for point in points}


class PointRecord:
    """The record of one point in the folder of its sweep; only the first process of a run writes it."""

    def __init__(self, sweep: Path, number: int, overrides: Sequence[str], name: str) -> None:
        from aeframe.runs.sweep import SweepPoint

        self.number, self.name = number, name
        self._sweep = sweep
        self._point = SweepPoint(number, tuple(without_folders(overrides)), "training")
        self._write()

    def begin(self, config: DictConfig, model: str) -> Path:
        """Set the folder of the run, which is in that of the sweep; a run that was interrupted there is resumed."""
        folder = self._sweep / f"{self.number}-{model}-{config.data.name}"
        with open_dict(config):
            config.folder, config.resume = str(folder), AUTO
        return folder

    def monitor(self, config: Mapping[str, Any]) -> None:
        """Record which metric chooses the weights of the run."""
        from aeframe.experiment.run_setup import monitor_mode

        mode: Literal["min", "max"] = "max" if monitor_mode(config) == "max" else "min"
        self._write(monitor=str(config["monitor"]), mode=mode)

    def finish(self, folder: Path, monitored: float) -> None:
        """Record a finished run."""
        self._write(status="finished", folder=str(folder), monitored=monitored)

    def fail(self, error: str) -> None:
        """Record an error."""
        self._write(status="failed", error=error)

    def fail_unexpectedly(self, error: Exception) -> None:
        """Record an error in code, which has a traceback."""
        self.fail(f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _write(self, **changes: Any) -> None:
        from aeframe.runs.sweep import write_point

        self._point = replace(self._point, **changes)
        # Slurm numbers the processes of a run on several devices; others have a local rank.
        if os.environ.get("SLURM_PROCID", os.environ.get("LOCAL_RANK", "0")) == "0":
            write_point(self._sweep, self._point)


class ReleaseRun(Callback):
    """Free what a finished point leaves in memory.

    Hydra keeps what each job returns, with two composed configs of half a megabyte. The objects of a run refer to each
    other, so that Python would keep those of several runs, with their memory on the device, until it looks for them.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        job_return.cfg = job_return.hydra_cfg = None
        gc.collect()


@contextmanager
def recorded_point(sweep: Path, job: int, overrides: Sequence[str]) -> Iterator[PointRecord]:
    """Record a point of a sweep: its beginning, and an unexpected exception, which is raised again.

    Args:
        sweep: The folder of the sweep.
        job: The number of the launcher's job, which is that of the point only in a sweep that was not continued.
        overrides: Those of the point.
    """
    plan = read_plan(sweep)
    number = job if plan is None else plan.number(without_folders(overrides), job)
    name = f"point {number}" if plan is None else plan.name(number, overrides)
    record = PointRecord(sweep, number, overrides, name)
    try:
        yield record
    except Exception as error:
        record.fail_unexpectedly(error)
        raise


@contextmanager
def summarized_sweep(sweep: PlannedSweep) -> Iterator[None]:
    """Hold the lock of a sweep's folder inside, and write and print its summary at its end, also after an exception.

    The summary is made of the files in the folders of the sweep and of its runs, so that it does not depend on where a
    launcher ran them.

    Raises:
        AeframeError: Another command is continuing this sweep.
    """
    from aeframe.runs.sweep import write_summary

    folder = sweep.folder
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder):
        sweep.plan.write(folder)
        if sweep.num_finished:
            total = sweep.num_finished + len(sweep.pending or ())
            print(f"sweep '{folder}': {sweep.num_finished} of {total} points are finished", file=sys.stderr)
        try:
            yield
        finally:
            try:
                write_summary(folder)
            except (AeframeError, OSError) as error:
                print(f"warning: the sweep '{folder}' has no summary: {error}", file=sys.stderr)
