"""Curves of all loss terms and metrics of a run, in one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from aeframe.evaluation.measurement import Measurement

_FIRST = ("loss", "bound", "reconstruction")
"""Names of the plots that come first, in this order."""
_PLOT_INCHES = (3.6, 2.6)
"""Width and height of a plot with its margins."""
_MARGIN_INCHES = (0.62, 0.1, 0.42, 0.26)
"""Left (tick labels of nine digits), right, bottom (tick labels and axis label) and top (title) of a plot."""
_TICKS = 5
"""The most intervals between ticks of an axis."""
_ABOVE: Mapping[str, Any] = {
    "loc": "lower right", "bbox_to_anchor": (1.02, 0.98), "ncols": 3, "fontsize": 7, "frameon": False,
    "columnspacing": 0.8, "handlelength": 1.0, "handletextpad": 0.3, "borderpad": 0.0,
}  # fmt: skip
"""The place of a legend: in the line of the title, at the right end."""
_COLOURS = {"train": "tab:blue", "val": "tab:orange", "test": "tab:green"}


def draw_curves(measurements: Sequence[Measurement]) -> Figure:
    """Return a figure with one plot for each name of a loss term or metric, and in it a line for each split.

    The horizontal axis is the number of batches trained on. A value that was measured only once, such as a test at the
    end, is drawn as a dot.
    """
    names = list(dict.fromkeys(measurement.name for measurement in measurements))
    trained = {measurement.name for measurement in measurements if measurement.split == "train"}
    # After `_FIRST`, the other loss terms, then the metrics, which are not measured on the training split.
    names.sort(key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name not in trained, name))
    num_columns = max(1, min(4, len(names)))
    num_rows = math.ceil(len(names) / num_columns) or 1
    figure = _empty_figure(num_columns, num_rows)
    values_of = _by_name_and_split(measurements)
    for position, name in enumerate(names):
        axes = figure.add_subplot(num_rows, num_columns, position + 1)
        for split, colour in _COLOURS.items():
            points = sorted(point for point in values_of.get((name, split), ()) if math.isfinite(point[1]))
            if points:
                steps, values = zip(*points, strict=True)
                marker = "o" if len(points) == 1 else None
                axes.plot(steps, values, color=colour, label=split, marker=marker, linewidth=1.2)
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        axes.locator_params(nbins=_TICKS)
        axes.ticklabel_format(axis="y", useOffset=False)
        if axes.lines:
            # Above the plot, where it covers no line; the place "best" would be searched for among all points.
            axes.legend(**_ABOVE)
        if position >= len(names) - num_columns:
            axes.set_xlabel("batches", fontsize=8)
    return figure


def _empty_figure(num_columns: int, num_rows: int) -> Figure:
    """Return a figure with fixed margins around each plot.

    A layout that is fitted to the labels would draw every label twice more, which takes seconds for 30 plots.
    """
    width, height = _PLOT_INCHES[0] * num_columns, _PLOT_INCHES[1] * num_rows
    left, right, bottom, top = _MARGIN_INCHES
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=(left + right) / (_PLOT_INCHES[0] - left - right),
        hspace=(bottom + top) / (_PLOT_INCHES[1] - bottom - top),
    )
    return figure


def _by_name_and_split(measurements: Sequence[Measurement]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Return steps and values by the name and the split of the measurement."""
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for measurement in measurements:
        points.setdefault((measurement.name, measurement.split), []).append((measurement.step, measurement.value))
    return points
