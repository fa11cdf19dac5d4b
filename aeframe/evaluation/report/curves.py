"""Curves of all loss terms and metrics of a run, in one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from aeframe.evaluation.measurement import Measurement

_FIRST = ("loss", "bound", "reconstruction")
"""Names of the plots that come first, in this order."""
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
    figure = Figure(figsize=(3.6 * num_columns, 2.6 * num_rows), layout="constrained")
    for position, name in enumerate(names):
        axes = figure.add_subplot(num_rows, num_columns, position + 1)
        for split, colour in _COLOURS.items():
            points = sorted(
                (measurement.step, measurement.value)
                for measurement in measurements
                if (measurement.name, measurement.split) == (name, split)
            )
            points = [(step, value) for step, value in points if math.isfinite(value)]
            if points:
                steps, values = zip(*points, strict=True)
                marker = "o" if len(points) == 1 else None
                axes.plot(steps, values, color=colour, label=split, marker=marker, linewidth=1.2)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.ticklabel_format(axis="y", useOffset=False)
        if axes.lines:
            axes.legend(fontsize=7, frameon=False)
        if position >= len(names) - num_columns:
            axes.set_xlabel("batches", fontsize=8)
    return figure
