"""Tables and a plot of the anomaly scores of a series.

A score is a squared error of scaled values: those that the model receives, in the scaled unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import dates
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aeframe.data.score_quantiles import ScoreQuantiles
from aeframe.data.scored_parts import ScoredParts
from aeframe_series.checks import CheckedSeries
from aeframe_series.modality import Series
from aeframe_series.recording import as_text, named_identity
from aeframe_series.scores import AnomalyScores

Table = dict[str, NDArray[Any]]
"""Columns by name."""
_DPI = 130


def scored_time_steps(
    modality: Series, series: CheckedSeries, scores: AnomalyScores, reference: ScoreQuantiles
) -> ScoredParts:
    """Return the scores of all rows of a file, in its order, with their row, series and time.

    The details are for each column the reconstruction in the unit of the file, and the squared error in the scaled
    unit. Rows that were skipped, or that are in no window, have no score (NaN).
    """
    num_rows = len(series.recording.rows)
    identity = series.recording.identity
    order = np.argsort(identity.row, kind="stable")

    def in_file(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values ``(N, ...)`` of time steps for all rows of the file."""
        rows = np.full((num_rows, *values.shape[1:]), np.nan)
        rows[series.kept] = values
        return rows[order]

    found = identity.at(order)
    named = {"row": found["row"], **named_identity(found, time=modality.time, series=modality.series)}
    reconstruction, errors = in_file(modality.unscale(scores.reconstruction)), in_file(scores.errors)
    details: Table = {}
    for number, name in enumerate(modality.columns):
        details[f"{name} reconstruction"] = reconstruction[:, number]
        details[f"{name} error"] = errors[:, number]
    return ScoredParts(
        name="time steps",
        identity={name: as_text(values) if values.dtype.kind in "mM" else values for name, values in named.items()},
        scores=in_file(scores.time_steps),
        reference=reference,
        details=details,
        notes=tuple(modality.notes),
        skipped=series.skipped,
        draw=lambda threshold: plot_scores(modality, series, scores, threshold),
    )


def plot_scores(modality: Series, series: CheckedSeries, scores: AnomalyScores, threshold: float) -> Figure:
    """Plot each column with its reconstruction, and the score on a logarithmic axis; flagged time steps are red.

    One series is plotted over its times, several one after another over the number of the row.
    """
    reconstruction, values = modality.unscale(scores.reconstruction), series.rows.array
    num_columns = values.shape[1]
    figure = Figure(figsize=(12.0, 1.0 + 1.2 * (num_columns + 1)), layout="constrained", dpi=_DPI)
    *column_axes, score_axes = figure.subplots(num_columns + 1, 1, sharex=True)
    flagged = scores.time_steps > threshold
    x, label, is_date = _abscissa(modality, series)
    # Lines are interrupted between series and at gaps.
    breaks = np.flatnonzero(series.after_gap)
    broken_x = np.insert(x, breaks, x[breaks])
    for number, axes in enumerate(column_axes):
        for plotted, colour, name in (
            (values[:, number], "0.35", "original"),
            (reconstruction[:, number], "tab:orange", "reconstruction"),
        ):
            broken = np.insert(plotted.astype(np.float64), breaks, np.nan)
            axes.plot(broken_x, broken, color=colour, linewidth=0.7, label=name)
        axes.set_ylabel(modality.columns[number], fontsize=8)
    column_axes[0].legend(loc="upper right", fontsize=7, ncols=2)
    score_axes.plot(broken_x, np.insert(scores.time_steps, breaks, np.nan), color="0.35", linewidth=0.7)
    score_axes.axhline(threshold, color="tab:red", linewidth=0.8)
    score_axes.set_yscale("log")
    score_axes.set_ylabel("score", fontsize=8)
    score_axes.set_xlabel(label, fontsize=8)
    if is_date:
        locator: Any = dates.AutoDateLocator()  # type: ignore[no-untyped-call]
        score_axes.xaxis.set_major_locator(locator)
        score_axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    half_step = float(np.median(np.diff(x))) / 2 if len(x) > 1 else 0.5
    score_axes.set_xlim(x[0] - half_step, x[-1] + half_step)
    # The first time step of each flagged interval, and the last one, in turn.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flagged, [False]]))).reshape(-1, 2)
    first, last = x[edges[:, 0]] - half_step, x[edges[:, 1] - 1] + half_step
    for axes in (*column_axes, score_axes):
        axes.tick_params(labelsize=7)
        axes.broken_barh(
            list(zip(first.tolist(), (last - first).tolist(), strict=True)),
            (0, 1),
            transform=axes.get_xaxis_transform(),
            color="tab:red",
            alpha=0.3,
            linewidth=0.6,
        )
    return figure


def _abscissa(modality: Series, series: CheckedSeries) -> tuple[NDArray[np.float64], str, bool]:
    """Return where time steps are plotted ``(N,)``, the label of the axis, and whether they are dates."""
    times = series.recording.times
    if times is None or len(series.recording.starts) > 1:
        several = len(series.recording.starts) > 1
        return np.arange(len(series.rows), dtype=np.float64), "row, series by series" if several else "row", False
    name = modality.time or "time"
    values = times.values[series.kept]
    if times.are_dates:
        numbers = dates.date2num(values)  # type: ignore[no-untyped-call]
        return np.asarray(numbers, np.float64), name, True
    if values.dtype.kind == "m":
        return values / np.timedelta64(1, "s"), f"{name} (s)", False
    return values.astype(np.float64), name, False
