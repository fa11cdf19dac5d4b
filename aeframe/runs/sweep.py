"""The points of a sweep, which each job records in the folder of the sweep, and their summary."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from aeframe.errors import AeframeError
from aeframe.model_store.files import write_text
from aeframe.plain_files import read_mapping
from aeframe.runs.comparison import ComparedRun, averaged, best_run, differs_by_seed, read_runs
from aeframe.runs.comparison_table import SHOWN, as_csv, metrics_of_runs, print_table
from aeframe.runs.folder import RunFolder
from aeframe.runs.report.comparison import Comparison, comparison_page
from aeframe.runs.sweep_plan import point_settings, point_text, read_plan, varied_keys

_INTERRUPTED = "the run did not end: it was interrupted, killed, or is still training"
_MISSING = "not begun"
_STATUS = {"missing": "missing", "training": "unfinished"}
"""What the summary calls a status, if not by its own name."""
_MAX_MISSING = 5
"""Points that were not begun are counted, and not listed, if they are more."""


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One run of a sweep."""

    number: int
    overrides: tuple[str, ...]
    status: Literal["missing", "training", "finished", "failed", "pruned"]
    """``missing`` before it is begun; ``training`` also after an interruption."""
    error: str = ""
    folder: str = ""
    """The run folder; empty until it is finished."""
    monitor: str = ""
    """The monitored metric."""
    mode: Literal["min", "max"] = "min"
    monitored: float | None = None
    """Its value for the best weights, on the validation split."""

    def name(self, varied: Sequence[str]) -> str:
        """Return the varied settings of the point as text."""
        return point_text(self.overrides, varied) or str(self.number)

    def settings(self) -> dict[str, str]:
        """Return the values of the overrides as text, by key."""
        return point_settings(self.overrides)


def write_point(sweep: Path, point: SweepPoint) -> None:
    """Write or replace the record of a point below the folder of the sweep."""
    folder = sweep / "points"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{point.number}.json", json.dumps(asdict(point), indent=2) + "\n")


def read_points(sweep: Path) -> list[SweepPoint]:
    """Return the points of a sweep, those that were planned and not begun too, in the order of their numbers.

    Raises:
        AeframeError: A record is damaged.
    """
    points = []
    for path in (sweep / "points").glob("*.json"):
        try:
            point = TypeAdapter(SweepPoint).validate_python(read_mapping(path))
        except ValidationError as error:
            raise AeframeError(f"'{path}' is not the record of a point of a sweep; delete it") from error
        # The sweep may have been moved, or begun in another working folder.
        folder = sweep / Path(point.folder).name
        points.append(replace(point, folder=str(folder)) if point.folder and folder.is_dir() else point)
    begun = {point.number for point in points}
    plan = read_plan(sweep)
    for number, overrides in enumerate(() if plan is None else plan.points):
        if number not in begun:
            points.append(SweepPoint(number, overrides, "missing"))
    return sorted(points, key=lambda point: point.number)


def finished_points(sweep: Path) -> list[SweepPoint]:
    """Return the points of a sweep whose runs are finished and still there."""
    points = (point for point in read_points(sweep) if point.status == "finished")
    return [point for point in points if RunFolder(Path(point.folder)).metrics_json.is_file()]


def finished_value(folder: Path) -> float | None:
    """Return the best monitored value of a finished run; None if there is no run, or it is not finished."""
    run = RunFolder(folder)
    if run.read_state().get("status") != "finished" or not run.metrics_json.is_file():
        return None
    from aeframe.runs.newest import newest_checkpoint

    newest = newest_checkpoint(run)
    return math.nan if newest is None else newest.best_value


def write_summary(sweep: Path) -> None:
    """Write ``sweep.csv`` and ``sweep.html`` into the folder of a sweep, and print the table and the best point.

    If seeds differ, also ``means.csv`` with means and deviations over them. A sweep without a point has no summary.

    Raises:
        AeframeError: A record of a point is damaged.
        OSError: A file cannot be written.
    """
    points = read_points(sweep)
    if not points:
        return
    keys = varied_keys([point.overrides for point in points])
    runs: dict[int, ComparedRun] = {}
    failed: dict[int, str] = {}
    for point in points:
        metrics, error = _metrics(point)
        if error:
            failed[point.number] = error
        else:
            runs[point.number] = ComparedRun((point.folder,), point.settings(), metrics, {})
    compared = list(runs.values())
    best, best_by = _best(points, compared)
    write_text(sweep / "sweep.csv", _csv(points, keys, runs, failed, best))
    monitors = list(dict.fromkeys(_monitor(point) for point in points if point.number in runs))
    names = metrics_of_runs(compared)
    shown = [*monitors, *(name for name in SHOWN if name in names)]
    means = averaged(compared) if differs_by_seed(keys) else []
    mean_keys = [key for key in keys if any(key in run.settings for run in means if len(run.names) > 1)]
    if means:
        write_text(sweep / "means.csv", as_csv(means, mean_keys, names))
    lacking = [point for point in points if point.number in failed]
    errors = {f"{point.number}: {point.name(keys)}": failed[point.number] for point in lacking}
    page = comparison_page(
        Comparison(
            title=f"Sweep of {len(points)} points",
            about=f"Sweep {sweep.name}: {len(runs)} finished, {len(failed)} without a result",
            runs=compared,
            keys=keys,
            metrics=shown,
            further=[name for name in names if name not in shown],
            best=best,
            best_by=best_by,
            means=means,
            mean_keys=mean_keys,
            failed=errors,
        )
    )
    write_text(sweep / "sweep.html", page)
    if compared:
        print_table(compared, keys, shown, best, names=("point", [str(number) for number in runs]))
    if means:
        labels = [", ".join(f"{key}={run.settings[key]}" for key in mean_keys if key in run.settings) for run in means]
        print_table(means, (), shown, title="Means over seeds", names=("settings", labels))
    missing = [point.number for point in lacking if point.status == "missing"]
    for point in lacking:
        if point.status != "missing" or len(missing) <= _MAX_MISSING:
            status = "failed" if point.status == "finished" else _STATUS.get(point.status, point.status)
            print(f"{status}: point {point.number} ({point.name(keys)}): {failed[point.number]}")
    if len(missing) > _MAX_MISSING:
        print(f"missing: {len(missing)} points that were not begun")
    if best is not None:
        label = next(point.name(keys) for point in points if point.folder == best.names[0])
        print(f"best point: {label}, by {best_by}: {best.names[0]}")
    if lacking and read_plan(sweep) is not None:
        print(f"{len(runs)} of {len(points)} points are finished; for the others: aeframe-train -m resume={sweep}")
    print(sweep / "sweep.html")


def _metrics(point: SweepPoint) -> tuple[dict[str, float], str]:
    """Return the test metrics of a point with its monitored metric, and why there are none."""
    if point.status in ("training", "missing"):
        return {}, _INTERRUPTED if point.status == "training" else _MISSING
    if point.status in ("failed", "pruned"):
        return {}, point.error
    try:
        (run,) = read_runs([Path(point.folder)])
    except (AeframeError, OSError) as error:
        return {}, str(error)
    monitored = math.nan if point.monitored is None else point.monitored
    return {_monitor(point): monitored, **run.metrics}, ""


def _monitor(point: SweepPoint) -> str:
    return f"val/{point.monitor}"


def _best(points: Sequence[SweepPoint], runs: Sequence[ComparedRun]) -> tuple[ComparedRun | None, str]:
    """Return the run with the best monitored metric, and how it was chosen; None if the points monitor several."""
    monitored = {(_monitor(point), point.mode) for point in points if point.status == "finished"}
    if len(monitored) != 1 or len(runs) < 2:
        return None, ""
    ((name, mode),) = monitored
    direction = "higher" if mode == "max" else "lower"
    return best_run(runs, name, descending=mode == "max"), f"{name}, on the validation split ({direction} is better)"


def _csv(
    points: Sequence[SweepPoint],
    keys: Sequence[str],
    runs: dict[int, ComparedRun],
    failed: dict[int, str],
    best: ComparedRun | None,
) -> str:
    """Return a row for each point, with its status and error; a failed point has no metrics."""
    rows = []
    for point in points:
        number = point.number
        # The files of a finished run may have been deleted since.
        is_lost = point.status == "finished" and number in failed
        status = "failed" if is_lost else _STATUS.get(point.status, point.status)
        is_best = "yes" if best is not None and runs.get(number) is best else ""
        settings = {
            **point.settings(),
            "point": str(number),
            "status": status,
            "best": is_best,
            "error": failed.get(number, ""),
        }
        metrics = runs[number].metrics if number in runs else {}
        rows.append(ComparedRun((point.folder,), settings, metrics, {}))
    return as_csv(rows, ["point", "status", "best", *keys, "error"], metrics_of_runs(rows))
