"""Bar charts of samples that are rows of numbers, with the same columns and the same scale for all."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

_MAX_BARS = 24
"""Maximum number of columns that are drawn."""
_COLOUR = "#0072B2"
_BAR_INCHES, _LETTER_INCHES, _MAX_LETTERS = 0.16, 0.058, 24


def draw_profiles(x: Tensor, names: Sequence[str] | None, *, unit: str) -> list[Figure]:
    """Return a bar chart of each row ``(N, K)``, with the same columns and the same scale for all.

    Of more than 24 columns, those with the largest absolute values in the first row are drawn, in the order of the
    columns.

    Args:
        x: The rows; NaN is a gap.
        names: The names of the columns; None for their numbers from 0.
        unit: Label of the values.
    """
    values = x.detach().float().cpu().flatten(1)
    columns = values[0].nan_to_num(0.0).abs().topk(min(_MAX_BARS, values.shape[1])).indices.sort().values
    drawn = values[:, columns].nan_to_num(float("nan"), float("nan"), float("nan"))
    finite = drawn[drawn.isfinite()]
    low, high = (min(0.0, finite.min().item()), max(0.0, finite.max().item())) if finite.numel() else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    labels = [str(column) if names is None else _shortened(names[column]) for column in columns.tolist()]
    left, bottom = 0.35, 0.15 + _LETTER_INCHES * max(len(label) for label in labels)
    width, height = left + max(2.5, _BAR_INCHES * len(labels)), bottom + 1.6
    figures = []
    for row in drawn.tolist():
        figure = Figure(figsize=(width, height))
        # Fixed margins: a layout engine would draw each figure several times.
        axes = figure.add_axes((left / width, bottom / height, 1 - (left + 0.05) / width, 1 - (bottom + 0.25) / height))
        axes.bar(range(len(labels)), row, color=_COLOUR, width=0.8)
        axes.axhline(0.0, color="black", linewidth=0.5)
        axes.set(ylim=(low - (margin if low < 0 else 0.0), high + margin), xlim=(-0.7, len(labels) - 0.3))
        axes.set_title(unit, fontsize=7, loc="left", pad=3)
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
        axes.tick_params(axis="y", labelsize=7)
        figures.append(figure)
    return figures


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…"
