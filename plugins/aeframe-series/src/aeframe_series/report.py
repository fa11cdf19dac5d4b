"""What is written and drawn of the scores of a series."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aeframe_series.examine import Examined
from aeframe_series.modality import Series
from aeframe_series.scores import Scores
from aeframe_series.windows import WindowSource

Columns = dict[str, NDArray[Any]]
_DPI = 130


def by_moment(modality: Series, found: Examined, source: WindowSource, scores: Scores, threshold: float) -> Columns:
    """Return a row for each moment: its place in the file and in time, its score and flag, then column by column the
    reconstruction in the unit of the file and the squared error in the scaled one.
    """
    columns = {**_when(modality, found, np.arange(len(found.rows))), **_flagged(scores.points, threshold)}
    made = modality.in_unit(scores.reconstruction)
    for number, name in enumerate(modality.columns):
        columns[f"{name} reconstruction"] = made[:, number]
        columns[f"{name} error"] = scores.errors[:, number]
    return columns


def by_window(modality: Series, found: Examined, source: WindowSource, scores: Scores, threshold: float) -> Columns:
    """Return a row for each window: where it begins, its score and its flag."""
    return {**_when(modality, found, source.starts.numpy()), **_flagged(scores.windows, threshold)}


def draw(modality: Series, found: Examined, scores: Scores, threshold: float) -> Figure:
    """Draw every column with its reconstruction, the score below on a logarithmic axis, and what is flagged in red."""
    made, values = modality.in_unit(scores.reconstruction), found.rows.values
    num = values.shape[1]
    figure = Figure(figsize=(12.0, 1.0 + 1.2 * (num + 1)), layout="constrained", dpi=_DPI)
    *axes, last = figure.subplots(num + 1, 1, sharex=True)
    flagged = scores.points > threshold
    for number, each in enumerate(axes):
        each.plot(values[:, number], color="0.35", linewidth=0.7, label="original")
        each.plot(made[:, number], color="tab:orange", linewidth=0.7, label="reconstruction")
        each.set_ylabel(modality.columns[number], fontsize=8)
    axes[0].legend(loc="upper right", fontsize=7, ncols=2)
    last.plot(scores.points, color="0.35", linewidth=0.7)
    last.axhline(threshold, color="tab:red", linewidth=0.8)
    last.set_yscale("log")
    last.set_ylabel("score", fontsize=8)
    last.set_xlabel("row", fontsize=8)
    last.set_xlim(0, len(values))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flagged, [False]])))
    for each in (*axes, last):
        each.tick_params(labelsize=7)
        for first, end in edges.reshape(-1, 2).tolist():
            each.axvspan(first - 0.5, end - 0.5, color="tab:red", alpha=0.3, linewidth=0.6)
    return figure


def _when(modality: Series, found: Examined, places: NDArray[np.int64]) -> Columns:
    assert found.rows.index is not None
    when: Columns = {"row": found.rows.index[places]}
    if found.rows.label is not None:
        when[modality.time or "time"] = found.rows.label[places]
    return when


def _flagged(scores: NDArray[np.float64], threshold: float) -> Columns:
    return {"score": scores, "anomaly": (scores > threshold).astype(np.int64)}
