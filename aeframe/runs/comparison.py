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
from aeframe.registry import registry
from aeframe.runs.folder import RunFolder

_SEEDS = ("seed", "data.split_seed")
"""Settings by which repetitions of one experiment differ."""
IGNORED = frozenset({"folder", "root", "resume", "progress", "verbose", "pictures", "workers", "logger"})
"""Settings without an influence on the result."""
_HIGHER_IS_BETTER = ("accuracy", "_ari", "_nmi")
"""Endings of the names of metrics that improve when they grow, where one metric has several numbers."""
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
    """Sample standard deviations over several runs; empty for a single one."""

    @property
    def short_name(self) -> str:
        """The name of the folder, and how many more there are."""
        more = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
        return f"{Path(self.names[0]).name}{more}"

    def number(self, metric: str) -> str:
        """Return a metric as text: ``0.123``, with its deviation over several runs ``0.123 ± 0.004``, or nothing."""
        if metric not in self.metrics:
            return ""
        spread = f" ± {self.spreads[metric]:.2g}" if metric in self.spreads else ""
        return f"{self.metrics[metric]:.5g}{spread}"


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


def averaged(runs: Sequence[ComparedRun], by: Sequence[str] | None = None) -> list[ComparedRun]:
    """Return runs with the metrics of those that differ in their seed only averaged.

    Args:
        runs: Single runs.
        by: Settings; runs that agree in these are averaged, whatever else differs.

    Raises:
        AeframeError: No run has a setting of `by`.
    """
    known = dict.fromkeys(name for run in runs for name in run.settings)
    unknown = next((name for name in by or () if name not in known), None)
    if unknown is not None:
        raise AeframeError(f"no run has the setting '{unknown}'{did_you_mean(unknown, known)}; correct --by")
    groups: dict[tuple[tuple[str, str], ...], list[ComparedRun]] = {}
    for run in runs:
        names = by if by is not None else sorted(name for name in run.settings if name not in _SEEDS)
        groups.setdefault(tuple((name, run.settings.get(name, "")) for name in names), []).append(run)
    return [_mean(group, dict(key) if by is not None else None) for key, group in groups.items()]


def differs_by_seed(keys: Iterable[str]) -> bool:
    """Return whether there is a seed among settings that differ, and another setting."""
    keys = set(keys)
    return bool(keys & set(_SEEDS)) and bool(keys - set(_SEEDS))


def higher_is_better(metric: str) -> bool:
    """Return whether a metric improves when it grows; of unknown ones, lower values are taken as better."""
    if not registry().has("metric", metric):
        return metric.endswith(_HIGHER_IS_BETTER)
    return bool(getattr(registry().load("metric", metric), "higher_is_better", False))


def best_run(runs: Sequence[ComparedRun], metric: str, *, descending: bool) -> ComparedRun | None:
    """Return the run with the best finite value of a metric; None if no run has one."""
    measured = [run for run in runs if math.isfinite(run.metrics.get(metric, math.nan))]
    if not measured:
        return None
    choose = max if descending else min
    return choose(measured, key=lambda run: run.metrics[metric])


def common_monitor(runs: Sequence[ComparedRun]) -> str | None:
    """Return the metric that all runs monitored, if all of them have it among their test metrics."""
    monitors = {run.settings.get("monitor", "") for run in runs}
    name = monitors.pop() if len(monitors) == 1 else ""
    return name if all(name in run.metrics for run in runs) else None


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


def flat_settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the settings of a config that influence its result, as text, by dotted key; see `flat_values`."""
    yield from (
        (key, str(value))
        for key, value in flat_values({name: value for name, value in config.items() if name not in IGNORED})
    )


def flat_values(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all values of a config by dotted key; the name of a part has the key of the part."""
    for name, value in config.items():
        key = prefix[:-1] if name == "name" and prefix else f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from flat_values(value, f"{key}.")
        else:
            yield key, value


def _mean(group: Sequence[ComparedRun], settings: Mapping[str, str] | None) -> ComparedRun:
    """Return the mean of runs, with sample standard deviations where there are several.

    Args:
        group: Runs.
        settings: Their common settings; None: those of the first run without its seed.
    """
    if len(group) == 1 and settings is None:
        return group[0]
    common = [name for name in group[0].metrics if all(name in run.metrics for run in group)]
    values = {name: [run.metrics[name] for run in group] for name in common}
    if settings is None:
        settings = {name: value for name, value in group[0].settings.items() if name not in _SEEDS}
    return ComparedRun(
        tuple(name for run in group for name in run.names),
        settings,
        {name: statistics.fmean(each) for name, each in values.items()},
        {name: statistics.stdev(each) for name, each in values.items()} if len(group) > 1 else {},
    )
