"""`TuneResult`: what `aeframe.tune` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.errors import AeframeError
from aeframe.experiment.tuning.experiment_file import experiment_file, write_experiment

if TYPE_CHECKING:
    from pandas import DataFrame

FOLDER = "folder"
"""The attribute of a trial of a study with the name of its run folder."""
VALUES_OF = {"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "waiting"}
"""The status of a trial by Optuna's name of its state. A failed one is ``failed`` or ``interrupted``."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a study."""

    number: int
    settings: Mapping[str, Any]
    """The searched settings, by dotted key."""
    status: str
    """``complete``, ``pruned``, ``failed``, ``interrupted``, ``running`` or ``waiting``."""
    value: float
    """The monitored metric of the best weights, on the validation split; NaN without a result."""
    folder: Path | None
    """The run folder; None if the trial has not begun to train."""
    overrides: tuple[str, ...] = field(repr=False)
    """The overrides of the run."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """The trials of a study."""

    best: Trial
    """The trial with the best monitored metric."""
    trials: tuple[Trial, ...] = field(repr=False)
    importance: dict[str, float]
    """The share of each searched setting in the variance of the metric (PED-ANOVA: Watanabe et al. 2023, arXiv
    2304.10255), which Optuna estimates from the trials; empty where it is not defined."""
    metric: str
    """The monitored metric, such as ``val/bound``."""
    mode: str
    """``min`` or ``max``: whether the lowest or the highest value is best."""
    study: Path
    """The SQLite file of the study."""
    folder: Path
    """The folder with the runs, ``sweep.csv`` and ``sweep.html``."""
    is_repeatable: bool = field(repr=False)
    """Whether a config alone repeats the trials: they have no samples and modules of the calling program."""
    config_dir: Path | None = field(default=None, repr=False)

    @property
    def table(self) -> DataFrame:
        """A row for each trial: number, status, the searched settings, the monitored metric, folder and error."""
        import pandas as pd

        rows = [
            {
                "trial": trial.number,
                "status": trial.status,
                **trial.settings,
                self.metric: trial.value,
                "folder": None if trial.folder is None else str(trial.folder),
                "error": trial.error,
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows)

    def write_experiment(self) -> Path:
        """Write the best point to ``configs/experiment/NAME.yaml``, and return this path.

        NAME is that of the study. ``aeframe-train experiment=NAME`` then has the same config, and repeats the trial.

        Raises:
            AeframeError: The trials have samples or modules in memory, or the file exists and is no file of a search.
        """
        if not self.is_repeatable:
            raise AeframeError(
                "the trials have samples, modules, callbacks or loggers of this program, which no file can name; "
                "pass best.settings to aeframe.fit instead"
            )
        path = experiment_file(self.study.stem, self.config_dir)
        best = self.best
        comment = (
            f"trial {best.number} of {len(self.trials)} of study '{self.study.name}', {self.metric} {best.value:.6g}"
        )
        write_experiment(path, best.overrides, comment, self.config_dir)
        return path
