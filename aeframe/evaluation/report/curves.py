"""How every number moved during a run, as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from aeframe.evaluation.metrics.rows import Row

_FIRST = ("loss", "bound", "reconstruction")
_COLOURS = {"train": "tab:blue", "val": "tab:orange", "test": "tab:green"}


def draw_curves(rows: Sequence[Row]) -> Figure:
    """Draw one small plot for each name, with a line for each split over the batches trained on.

    What was measured once only, such as a test at the end, is a dot.
    """
    names = list(dict.fromkeys(row.name for row in rows))
    trained = {row.name for row in rows if row.split == "train"}
    # What is minimised stands before what is only measured.
    names.sort(key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name not in trained, name))
    columns = max(1, min(4, len(names)))
    num_rows = math.ceil(len(names) / columns) or 1
    figure = Figure(figsize=(3.6 * columns, 2.6 * num_rows), layout="constrained")
    for position, name in enumerate(names):
        axes = figure.add_subplot(num_rows, columns, position + 1)
        for split, colour in _COLOURS.items():
            points = sorted((row.step, row.value) for row in rows if (row.name, row.split) == (name, split))
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
        if position >= len(names) - columns:
            axes.set_xlabel("batches", fontsize=8)
    return figure
