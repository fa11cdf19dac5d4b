"""`Run`: what `aeframe.fit` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aeframe.model_store.trained_model import TrainedModel
from aeframe.runs.folder import RunFolder
from aeframe.runs.records import Records

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    folder: Path
    metrics: dict[str, float]
    """The metrics of the test split, by name."""
    monitored: float
    """The monitored metric of the best weights, on the validation split; NaN if it was never finite."""
    model: TrainedModel = field(repr=False)
    """The trained model: what `aeframe.load` opens, without reading it again."""

    @property
    def history(self) -> DataFrame:
        """The measurements of the run as a table with the columns step, epoch, split, name and value.

        ``run.history.pivot(index="step", columns=["split", "name"], values="value")`` has one column for each metric.
        """
        import pandas as pd

        return pd.DataFrame(Records(RunFolder(self.folder).metrics).read())
