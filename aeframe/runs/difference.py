"""Compare two runs: the settings that differ, and their metrics side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aeframe.runs.comparison import flat_values
from aeframe.runs.folder import RunFolder

_OF_THE_FOLDER = ("folder", "root", "resume")
"""Settings that are never the same in two runs."""
ABSENT = "-"
"""What a run that has no such setting, or no such metric, is shown with."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two runs."""

    settings: Mapping[str, tuple[str, str]]
    """Both values of each setting that differs, as text, by dotted key."""
    metrics: Mapping[str, tuple[str, str]]
    """Both values of each metric as text, by ``SPLIT/NAME``; those that are equal too."""

    @property
    def num_metrics(self) -> int:
        """The number of metrics that differ."""
        return sum(first != second for first, second in self.metrics.values())

    def __bool__(self) -> bool:
        return bool(self.settings) or self.num_metrics > 0


def difference(first: Path, second: Path) -> Difference:
    """Return what differs between the stored configs and the metrics of two runs.

    The folders themselves are not compared. A run that is not finished has no metrics.

    Raises:
        AeframeError: A folder has no run, or a file is damaged.
    """
    runs = [RunFolder.open(path) for path in (first, second)]
    settings = [
        {key: "null" if value is None else str(value) for key, value in flat_values(run.read_config())} for run in runs
    ]
    metrics = [dict(_metrics(run)) for run in runs]
    return Difference(
        {
            key: (settings[0].get(key, ABSENT), settings[1].get(key, ABSENT))
            for key in dict.fromkeys((*settings[0], *settings[1]))
            if settings[0].get(key) != settings[1].get(key) and key not in _OF_THE_FOLDER
        },
        {
            key: (metrics[0].get(key, ABSENT), metrics[1].get(key, ABSENT))
            for key in dict.fromkeys((*metrics[0], *metrics[1]))
        },
    )


def _metrics(run: RunFolder) -> list[tuple[str, str]]:
    if not run.metrics_json.is_file():
        return []
    return [
        (f"{split}/{name}", repr(value))
        for split, numbers in run.read_metrics().items()
        for name, value in numbers.items()
    ]
