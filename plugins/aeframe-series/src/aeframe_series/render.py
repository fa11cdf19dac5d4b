"""Line plots of windows of a series.

A panel is a titled set of windows, such as the originals or the reconstructions. Shapes: N windows, D columns of the
series, T time steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Windows = NDArray[Any]
"""``(N, D, T)``."""
_MAX_COLUMNS = 7
"""Maximal number of columns of the series that are plotted."""
_OVERLAY_SAMPLES = 4
"""Maximal number of windows in a plot of originals and reconstructions."""
_ROW_SAMPLES = 10
"""Maximal number of windows in a row of a plot with several panels."""
_GRID_SIZE = 8
"""Maximal rows, and windows in each, of a plot with a single panel."""
_GAP = 0.15
"""Space between two windows, in window widths."""
_COLOURS = ("0.35", "tab:orange", "tab:blue", "tab:green", "tab:purple")


def plot_overlaid(panels: Mapping[str, Windows], columns: Sequence[str]) -> Figure:
    """Plot the same windows of all panels in shared axes: one row of axes per column of the series."""
    first = next(iter(panels.values()))
    # Neighbouring windows overlap, so that the plotted ones are spread over all of them.
    chosen = np.linspace(0, len(first) - 1, min(_OVERLAY_SAMPLES, len(first))).round().astype(int)
    num_columns = min(_MAX_COLUMNS, first.shape[1])
    figure = Figure(figsize=(0.8 + 3.0 * len(chosen), 0.7 + 1.25 * num_columns), layout="constrained")
    grid = figure.subplots(num_columns, 1, squeeze=False, sharex=True)[:, 0]
    for column, axes in enumerate(grid):
        for colour, (title, windows) in zip(_COLOURS, panels.items(), strict=False):
            _plot_windows(axes, windows[chosen, column], label=title, color=colour, linewidth=1.0)
        axes.set_ylabel(columns[column], fontsize=8)
    width = 1 + _GAP
    grid[0].set_xlim(-_GAP / 2, len(chosen) * width - _GAP / 2)
    for position, sample in enumerate(chosen.tolist()):
        grid[0].annotate(
            f"sample {sample + 1}", (position * width, 1.03), xycoords=("data", "axes fraction"), fontsize=8
        )
    handles, titles = grid[0].get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside upper right", ncols=len(titles), fontsize=8, frameon=False)
    return figure


def plot_rows(panels: Mapping[str, Windows], columns: Sequence[str]) -> Figure:
    """Plot each panel as one row of windows with all columns of the series; wrap a single panel over several rows."""
    if len(panels) == 1:
        ((title, windows),) = panels.items()
        per_row = min(_GRID_SIZE, math.ceil(math.sqrt(len(windows))))
        rows = [
            windows[start : start + per_row] for start in range(0, min(len(windows), per_row * _GRID_SIZE), per_row)
        ]
        titles = [title, *[""] * (len(rows) - 1)]
    else:
        per_row = min(_ROW_SAMPLES, max(len(windows) for windows in panels.values()))
        rows, titles = [windows[:per_row] for windows in panels.values()], list(panels)
    num_columns = min(_MAX_COLUMNS, rows[0].shape[1])
    # A single window is as wide as the legend.
    width = max(0.6 + 1.3 * per_row, 1.0 + 0.8 * num_columns)
    figure = Figure(figsize=(width, 0.6 + 1.1 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for row, title, axes in zip(rows, titles, grid, strict=True):
        for column in range(num_columns):
            _plot_windows(axes, row[:, column], color=f"C{column}", linewidth=0.8)
        axes.set_title(title, fontsize=8, loc="left")
    grid[0].set_xlim(-_GAP / 2, per_row * (1 + _GAP) - _GAP / 2)
    grid[0].set_ylim(_limits([row[:, :num_columns] for row in rows]))
    lines = grid[0].get_lines()
    figure.legend(
        lines, columns[:num_columns], loc="outside lower center", ncols=num_columns, fontsize=7, frameon=False
    )
    return figure


def _plot_windows(axes: Axes, windows: NDArray[Any], **style: Any) -> None:
    """Plot windows ``(n, T)`` next to each other as one line with gaps, which is much faster than n lines."""
    length = windows.shape[1]
    x = np.arange(len(windows))[:, None] * (1 + _GAP) + np.arange(length + 1) / (length - 1)
    axes.plot(x.ravel(), np.pad(windows, ((0, 0), (0, 1)), constant_values=np.nan).ravel(), **style)
    axes.set_xticks([])
    axes.tick_params(labelsize=6)


def _limits(rows: Sequence[Windows]) -> tuple[float, float]:
    """Return limits of the y axis that cut off at most 0.2 % of the values on each side."""
    values = np.concatenate([row.ravel() for row in rows])
    # Missing values are NaN.
    values = values[np.isfinite(values)]
    if not values.size:
        return -1.0, 1.0
    low, high = np.percentile(values, [0.2, 99.8])
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
