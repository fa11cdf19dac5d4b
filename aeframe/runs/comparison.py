"""Tables that compare finished runs: the settings in which they differ, and their test metrics."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError, did_you_mean
from aeframe.runs.folder import RunFolder

_SEEDS = ("seed", "data.split_seed")
"""Settings by which repetitions of one experiment differ."""
_IGNORED = frozenset({"folder", "root", "resume", "progress", "verbose", "pictures", "workers", "logger"})
"""Settings without an influence on the result."""
_MAX_DEPTH = 3
"""How far below a folder runs are looked for."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run, or several that differ in their seed only."""

    names: tuple[str, ...]
    """The names of the run folders."""
    settings: Mapping[str, str]
    """The values of all settings, as text, by dotted key."""
    metrics: Mapping[str, float]
    """Test metrics; means over several runs."""
    spreads: Mapping[str, float]
    """Standard deviations over several runs; empty for a single one."""


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the folders of finished runs at or below `paths`, in the order of `paths` and of names.

    Raises:
        AeframeError: A path is no folder, or there is no finished run.
    """
    found: dict[Path, None] = {}
    paths = list(paths)
    for path in paths:
        if not path.is_dir():
            raise AeframeError(f"there is no folder '{path}'; give folders of runs, or folders that contain some")
        below = [path, *(folder for depth in range(1, _MAX_DEPTH + 1) for folder in sorted(path.glob("*/" * depth)))]
        for folder in below:
            if (folder / "config.yaml").is_file() and (folder / "metrics.json").is_file():
                found.setdefault(folder)
    if not found:
        raise AeframeError(
            f"no finished run in {', '.join(str(path) for path in paths)}; a finished run has config.yaml and "
            "metrics.json"
        )
    return list(found)


def read_runs(folders: Iterable[Path]) -> list[ComparedRun]:
    """Return the settings and test metrics of finished runs.

    Raises:
        AeframeError: A file is damaged.
    """
    runs = []
    for folder in folders:
        path = folder / "metrics.json"
        try:
            measured = json.loads(path.read_text(encoding="utf-8"))
            metrics = {str(name): float(value) for name, value in measured["test"].items() if value is not None}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AeframeError(f"'{path}' has no test metrics ({error}); leave this run out") from error
        settings = dict(flat_settings(RunFolder.open(folder).read_config()))
        runs.append(ComparedRun((str(folder),), settings, metrics, {}))
    return runs


def averaged(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """Return runs with the metrics of those that differ in their seed only averaged."""
    groups: dict[tuple[tuple[str, str], ...], list[ComparedRun]] = {}
    for run in runs:
        key = tuple(sorted((name, value) for name, value in run.settings.items() if name not in _SEEDS))
        groups.setdefault(key, []).append(run)
    return [_mean(group) for group in groups.values()]


def differing(runs: Sequence[ComparedRun]) -> list[str]:
    """Return the settings that are not the same in all runs, in the order of the configs."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    return [name for name in names if len({run.settings.get(name) for run in runs}) > 1]


def sorted_by(runs: Sequence[ComparedRun], metric: str, *, descending: bool) -> list[ComparedRun]:
    """Return the runs in the order of a metric; those without it are last.

    Raises:
        AeframeError: No run has this metric.
    """
    known = dict.fromkeys(name for run in runs for name in run.metrics)
    if metric not in known:
        scalars = [name for name in known if "/" not in name]
        raise AeframeError(
            f"no run has the metric '{metric}'{did_you_mean(metric, known)}; their metrics are {', '.join(scalars)}"
        )
    sign = -1 if descending else 1

    def key(run: ComparedRun) -> tuple[bool, float]:
        value = run.metrics.get(metric, math.nan)
        return math.isnan(value), sign * value

    return sorted(runs, key=key)


def flat_settings(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the settings of a config as text, by dotted key; the name of a part has the key of the part."""
    for name, value in config.items():
        key = prefix[:-1] if name == "name" and prefix else f"{prefix}{name}"
        if not prefix and name in _IGNORED:
            continue
        if isinstance(value, Mapping) and value:
            yield from flat_settings(value, f"{key}.")
        else:
            yield key, str(value)


def _mean(group: Sequence[ComparedRun]) -> ComparedRun:
    """Return the mean of runs, with standard deviations where there are several."""
    if len(group) == 1:
        return group[0]
    common = [name for name in group[0].metrics if all(name in run.metrics for run in group)]
    values = {name: [run.metrics[name] for run in group] for name in common}
    settings = {name: value for name, value in group[0].settings.items() if name not in _SEEDS}
    return ComparedRun(
        tuple(name for run in group for name in run.names),
        settings,
        {name: statistics.fmean(each) for name, each in values.items()},
        {name: statistics.stdev(each) for name, each in values.items()},
    )
