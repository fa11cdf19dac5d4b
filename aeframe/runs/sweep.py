"""The points of a sweep, which each job records in the folder of the sweep, and their summary."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from aeframe.errors import AeframeError
from aeframe.model_store.files import write_text
from aeframe.plain_files import read_mapping
from aeframe.runs.comparison import ComparedRun, averaged, best_run, differs_by_seed, read_runs
from aeframe.runs.comparison_table import SHOWN, as_csv, metrics_of_runs, print_table
from aeframe.runs.report.comparison import Comparison, comparison_page

_INTERRUPTED = "the run did not end: it was interrupted, killed, or is still training"


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One run of a sweep."""

    number: int
    overrides: tuple[str, ...]
    status: Literal["training", "finished", "failed", "pruned"]
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
        settings = self.settings()
        return ", ".join(f"{key}={settings[key]}" for key in varied if key in settings) or str(self.number)

    def settings(self) -> dict[str, str]:
        """Return the values of the overrides as text, by key."""
        parts = (override.partition("=") for override in self.overrides)
        return {key.lstrip("+~"): value for key, _, value in parts}


def write_point(sweep: Path, point: SweepPoint) -> None:
    """Write or replace the record of a point below the folder of the sweep."""
    folder = sweep / "points"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{point.number}.json", json.dumps(asdict(point), indent=2) + "\n")


def read_points(sweep: Path) -> list[SweepPoint]:
    """Return the points that were begun, in the order of their numbers.

    Raises:
        AeframeError: A record is damaged.
    """
    points = []
    for path in (sweep / "points").glob("*.json"):
        try:
            points.append(TypeAdapter(SweepPoint).validate_python(read_mapping(path)))
        except ValidationError as error:
            raise AeframeError(f"'{path}' is not the record of a point of a sweep; delete it") from error
    return sorted(points, key=lambda point: point.number)


def write_summary(sweep: Path) -> None:
    """Write ``sweep.csv`` and ``sweep.html`` into the folder of a sweep, and print the table and the best point.

    A sweep without a point, and one of which no point could be composed, has no summary.

    Raises:
        AeframeError: A record of a point is damaged.
        OSError: A file cannot be written.
    """
    points = read_points(sweep)
    if not points:
        return
    keys = _varied(points)
    runs: dict[int, ComparedRun] = {}
    failed: dict[int, str] = {}
    for point in points:
        metrics, error = _metrics(point)
        if error:
            failed[point.number] = error
        else:
            runs[point.number] = ComparedRun((point.folder,), point.settings(), metrics, {})
    write_text(sweep / "sweep.csv", _csv(points, keys, runs, failed))
    compared = list(runs.values())
    best, best_by = _best(points, compared)
    monitors = list(dict.fromkeys(_monitor(point) for point in points if point.number in runs))
    names = metrics_of_runs(compared)
    shown = [*monitors, *(name for name in SHOWN if name in names)]
    means = averaged(compared) if differs_by_seed(keys) else []
    mean_keys = [key for key in keys if any(key in run.settings for run in means if len(run.names) > 1)]
    errors = {point.name(keys): failed[point.number] for point in points if point.number in failed}
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
    for name, error in errors.items():
        print(f"no result: {name}: {error}")
    if best is not None:
        label = next(point.name(keys) for point in points if point.folder == best.names[0])
        print(f"best point: {label}, by {best_by}: {best.names[0]}")
    print(sweep / "sweep.html")


def _varied(points: Sequence[SweepPoint]) -> list[str]:
    """Return the keys of overrides that are not the same in all points, in their order."""
    settings = [point.settings() for point in points]
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def _metrics(point: SweepPoint) -> tuple[dict[str, float], str]:
    """Return the test metrics of a point with its monitored metric, and why there are none."""
    if point.status == "training":
        return {}, _INTERRUPTED
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
    points: Sequence[SweepPoint], keys: Sequence[str], runs: dict[int, ComparedRun], failed: dict[int, str]
) -> str:
    """Return a row for each point, with its status and error; a failed point has no metrics."""
    rows = []
    for point in points:
        number = point.number
        ended = {"training": "unfinished", "pruned": "pruned"}.get(point.status, "failed")
        status = "finished" if number in runs else ended
        settings = {"point": str(number), "status": status, **point.settings(), "error": failed.get(number, "")}
        metrics = runs[number].metrics if number in runs else {}
        rows.append(ComparedRun((point.folder,), settings, metrics, {}))
    return as_csv(rows, ["point", "status", *keys, "error"], metrics_of_runs(rows))
