"""Line plots of windows, side by side."""

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
_SAMPLES, _COLUMNS, _SMALL, _GRID = 4, 7, 10, 8
_GAP = 0.15
"""Between two windows, in units of one."""
_COLOURS = ("0.35", "tab:orange", "tab:blue", "tab:green", "tab:purple")


def draw_over_each_other(panels: Mapping[str, Windows], columns: Sequence[str]) -> Figure:
    """Draw the same windows as several panels have them, over each other: a row for each of the series' columns."""
    first = next(iter(panels.values()))
    # Samples that follow each other are much alike: those that are shown are taken from all of them.
    chosen = np.linspace(0, len(first) - 1, min(_SAMPLES, len(first))).round().astype(int)
    shown = min(_COLUMNS, first.shape[1])
    figure = Figure(figsize=(0.8 + 3.0 * len(chosen), 0.7 + 1.25 * shown), layout="constrained")
    grid = figure.subplots(shown, 1, squeeze=False, sharex=True)[:, 0]
    for column, axes in enumerate(grid):
        for colour, (title, windows) in zip(_COLOURS, panels.items(), strict=False):
            _plot(axes, windows[chosen, column], label=title, color=colour, linewidth=1.0)
        axes.set_ylabel(columns[column], fontsize=8)
    width = 1 + _GAP
    grid[0].set_xlim(-_GAP / 2, len(chosen) * width - _GAP / 2)
    for place, sample in enumerate(chosen.tolist()):
        grid[0].annotate(f"sample {sample + 1}", (place * width, 1.03), xycoords=("data", "axes fraction"), fontsize=8)
    handles, titles = grid[0].get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside upper right", ncols=len(titles), fontsize=8, frameon=False)
    return figure


def draw_rows(panels: Mapping[str, Windows], columns: Sequence[str]) -> Figure:
    """Draw each panel as a row of windows, all columns of the series in each; a single panel as several rows."""
    if len(panels) == 1:
        ((title, windows),) = panels.items()
        across = min(_GRID, math.ceil(math.sqrt(len(windows))))
        rows = [windows[start : start + across] for start in range(0, min(len(windows), across * _GRID), across)]
        titles = [title, *[""] * (len(rows) - 1)]
    else:
        across = min(_SMALL, max(len(windows) for windows in panels.values()))
        rows, titles = [windows[:across] for windows in panels.values()], list(panels)
    shown = min(_COLUMNS, rows[0].shape[1])
    figure = Figure(figsize=(0.6 + 1.3 * across, 0.6 + 1.1 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for row, title, axes in zip(rows, titles, grid, strict=True):
        for column in range(shown):
            _plot(axes, row[:, column], color=f"C{column}", linewidth=0.8)
        axes.set_title(title, fontsize=8, loc="left")
    grid[0].set_xlim(-_GAP / 2, across * (1 + _GAP) - _GAP / 2)
    grid[0].set_ylim(_limits([row[:, :shown] for row in rows]))
    lines = grid[0].get_lines()
    figure.legend(lines, columns[:shown], loc="outside lower center", ncols=shown, fontsize=7, frameon=False)
    return figure


def _plot(axes: Axes, windows: NDArray[Any], **style: Any) -> None:
    """Draw windows ``(n, T)`` side by side as one line that is interrupted: a plot for each would take seconds."""
    length = windows.shape[1]
    x = np.arange(len(windows))[:, None] * (1 + _GAP) + np.arange(length + 1) / (length - 1)
    axes.plot(x.ravel(), np.pad(windows, ((0, 0), (0, 1)), constant_values=np.nan).ravel(), **style)
    axes.set_xticks([])
    axes.tick_params(labelsize=6)


def _limits(rows: Sequence[Windows]) -> tuple[float, float]:
    """Return limits that hide no more than a few outliers."""
    values = np.concatenate([row.ravel() for row in rows])
    low, high = np.percentile(values, [0.2, 99.8])
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
