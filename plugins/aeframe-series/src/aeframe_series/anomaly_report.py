"""Tables and a plot of the anomaly scores of a series.

A score is a squared error of scaled values: those that the model receives, in the scaled unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aeframe_series.checks import CheckedSeries
from aeframe_series.modality import Series
from aeframe_series.scores import AnomalyScores
from aeframe_series.windows import WindowSource

Table = dict[str, NDArray[Any]]
"""Columns by name."""
_DPI = 130


def time_step_table(modality: Series, series: CheckedSeries, scores: AnomalyScores, threshold: float) -> Table:
    """Return a table with one row per time step: row of the file, time, score and anomaly flag, then for each column
    the reconstruction in the unit of the file and the squared error in the scaled unit.
    """
    positions = np.arange(len(series.rows))
    table = {**_row_and_time(modality, series, positions), **_score_and_flag(scores.time_steps, threshold)}
    reconstruction = modality.unscale(scores.reconstruction)
    for number, name in enumerate(modality.columns):
        table[f"{name} reconstruction"] = reconstruction[:, number]
        table[f"{name} error"] = scores.errors[:, number]
    return table


def window_table(
    modality: Series, series: CheckedSeries, source: WindowSource, scores: AnomalyScores, threshold: float
) -> Table:
    """Return a table with one row per window: row and time of its first time step, score and anomaly flag."""
    starts = source.starts.numpy()
    return {**_row_and_time(modality, series, starts), **_score_and_flag(scores.windows, threshold)}


def plot_scores(modality: Series, series: CheckedSeries, scores: AnomalyScores, threshold: float) -> Figure:
    """Plot each column with its reconstruction, and the score on a logarithmic axis; flagged time steps are red."""
    reconstruction, values = modality.unscale(scores.reconstruction), series.rows.values
    num_columns = values.shape[1]
    figure = Figure(figsize=(12.0, 1.0 + 1.2 * (num_columns + 1)), layout="constrained", dpi=_DPI)
    *column_axes, score_axes = figure.subplots(num_columns + 1, 1, sharex=True)
    flagged = scores.time_steps > threshold
    for number, axes in enumerate(column_axes):
        axes.plot(values[:, number], color="0.35", linewidth=0.7, label="original")
        axes.plot(reconstruction[:, number], color="tab:orange", linewidth=0.7, label="reconstruction")
        axes.set_ylabel(modality.columns[number], fontsize=8)
    column_axes[0].legend(loc="upper right", fontsize=7, ncols=2)
    score_axes.plot(scores.time_steps, color="0.35", linewidth=0.7)
    score_axes.axhline(threshold, color="tab:red", linewidth=0.8)
    score_axes.set_yscale("log")
    score_axes.set_ylabel("score", fontsize=8)
    score_axes.set_xlabel("row", fontsize=8)
    score_axes.set_xlim(0, len(values))
    # The first time step of each flagged interval, and the first one after it, in turn.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flagged, [False]])))
    for axes in (*column_axes, score_axes):
        axes.tick_params(labelsize=7)
        for first, end in edges.reshape(-1, 2).tolist():
            axes.axvspan(first - 0.5, end - 0.5, color="tab:red", alpha=0.3, linewidth=0.6)
    return figure


def _row_and_time(modality: Series, series: CheckedSeries, positions: NDArray[np.int64]) -> Table:
    """Return the columns that identify time steps: the row of the file and, if known, the time."""
    assert series.rows.index is not None
    table: Table = {"row": series.rows.index[positions]}
    # `Rows.label` holds the times.
    if series.rows.label is not None:
        table[modality.time or "time"] = series.rows.label[positions]
    return table


def _score_and_flag(scores: NDArray[np.float64], threshold: float) -> Table:
    return {"score": scores, "anomaly": (scores > threshold).astype(np.int64)}
